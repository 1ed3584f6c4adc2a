// The datapaths between which and kernel UDP streams move in tests, and how a host is told to use them.
import { engines } from "../../../src/native/engine.ts";
import { probeOf } from "../../../src/qos/capabilities.ts";
import { type NamespaceHost, noNamespaces } from "./namespaces.ts";
import type { Words } from "./processes.ts";

export interface Medium {
  readonly technology: "xdp" | "dpdk" | "rdma";
  /** Why it cannot be tested here, or empty. */
  readonly missing: string;
  /** Of a host's runtime; `network`: more of that part. */
  readonly settings: (host: NamespaceHost, network?: Words) => Words;
}

/** Stand-ins are taken by no strategy but one that says so. */
const EMULATED = {
  name: "test",
  rules: [{ when: { acceleration: "fast" }, use: ["rdma", "udp"], emulated: true }, { use: ["udp"] }],
};

/** Its engine is a thread of the runtime. */
export const XDP: Medium = {
  technology: "xdp",
  missing: noNamespaces(),
  settings: (_, network) => ({ network: { ...network } }),
};

/** Its engine is a process of its own. */
export const DPDK: Medium = {
  technology: "dpdk",
  missing:
    noNamespaces() ||
    (engines()
      .probe("dpdk")
      .evidence.some(({ finding }) => finding.startsWith("DPDK"))
      ? ""
      : "needs DPDK"),
  settings: (host, network) => ({
    network: {
      dpdk: { interface: host.interface, address: host.address.replace(/\.(\d)$/, ".1$1") },
      xdp: { enabled: false },
      ...network,
    },
  }),
};

/** Emulated; its engine is a process of its own. */
export const RDMA: Medium = {
  technology: "rdma",
  missing: noNamespaces() || (probeOf("rdma", "net").available ? "" : "needs libfabric"),
  settings: (_, network) => ({
    strategy: EMULATED,
    network: { rdma: { provider: "net" }, xdp: { enabled: false }, ...network },
  }),
};
