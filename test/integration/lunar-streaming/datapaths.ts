// What chooses a datapath for Lunar Streaming between two hosts: the configuration of their runtimes and the quality of the stream, nothing
// else. For tests that run the same server and viewers over each.
import { engines } from "../../../src/native/engine.ts";
import { probeOf } from "../../../src/qos/capabilities.ts";
import { type NamespaceHost, networkTowards, noNamespaces, type TwoHosts } from "../runtime/namespaces.ts";
import type { TestProcess, Words } from "../runtime/processes.ts";
import { StreamingStage } from "./stage.ts";

const HELLO = 7580;
const missing = noNamespaces();

export type Settings = (host: NamespaceHost) => { readonly network: Words; readonly more?: Words };
export const plain: Settings = () => ({ network: { xdp: { enabled: false } } });

/** What each datapath takes of the runtimes' configurations, and of the stream's quality. */
export const DATAPATHS: ReadonlyArray<readonly [string, string, Settings, Words]> = [
  ["udp", missing, plain, {}],
  ["xdp", missing, () => ({ network: {} }), { acceleration: "fast" }],
  [
    "dpdk",
    missing ||
      (engines()
        .probe("dpdk")
        .evidence.some(({ finding }) => finding.startsWith("DPDK"))
        ? ""
        : "needs libdpdk"),
    (host) => ({
      network: {
        xdp: { enabled: false },
        dpdk: { interface: host.interface, address: host.address.replace(/\.(\d)$/, ".1$1") },
      },
    }),
    { acceleration: "fast", consumption: "high" },
  ],
  [
    "rdma",
    missing || (probeOf("rdma", "net").available ? "" : "needs libfabric"),
    () => ({
      network: { xdp: { enabled: false }, rdma: { provider: "net" } },
      more: {
        strategy: {
          name: "test",
          rules: [{ when: { acceleration: "fast" }, use: ["rdma", "udp"], emulated: true }, { use: ["udp"] }],
        },
      },
    }),
    { acceleration: "fast" },
  ],
];

/** A runtime on each host, reached. */
export async function hostsOf(two: TwoHosts, settings: Settings, faults: Words = {}) {
  const stages = [new StreamingStage(two.a.prefix), new StreamingStage(two.b.prefix)] as const;
  const start = (stage: StreamingStage, host: NamespaceHost, other: NamespaceHost): Promise<TestProcess> => {
    const { network, more = {} } = settings(host);
    return stage.daemon({ ...more, network: networkTowards(host, other, HELLO, { ...network, ...faults }) });
  };
  await Promise.all([start(stages[0], two.a, two.b), start(stages[1], two.b, two.a)]);
  return {
    a: stages[0],
    b: stages[1],
    [Symbol.asyncDispose]: async () => {
      await Promise.all(stages.map((stage) => stage[Symbol.asyncDispose]()));
    },
  };
}
