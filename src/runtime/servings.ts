// From a configuration to what serves each technology: engine, receive pool, where its datapath listens and with which
// options. Pure.
import type { ServingPlan } from "../actors/serving.ts";
import type { RuntimeConfig } from "./api.ts";
import { isLoopback } from "./endpoint.ts";

/** AF_XDP works on pages: a slot, its header included, is a whole number of them. */
const PAGE = 4096;
const SLOT_HEADER = 64;
/** Largest IP datagram that one page takes, with all that goes before it. */
const XDP_PAGE_MTU = 3820;
/** All of them are used in turn: few stay in the caches, many outlast a burst while a thread wakes up. */
const XDP_SLOTS = { inline: 256, thread: 2048 };
/** What goes before a datagram in its slots: Ethernet header with a tag, and the kernel's own. */
const XDP_ROOM = 280;

/** The interface on which this runtime looks for XDP, by its name or an address that it carries; or why it does not. */
export function xdpInterface({
  network,
}: RuntimeConfig): { readonly name: string } | { readonly why: string; readonly cure: string } {
  const { address, xdp } = network;
  if (!network.enabled || xdp.enabled === false) {
    const field = network.enabled ? "network.xdp.enabled" : "network.enabled";
    return { why: `it is switched off in this runtime's configuration (${field})`, cure: `Set ${field}.` };
  }
  if (xdp.interface !== null) return { name: xdp.interface };
  if (isLoopback(address)) {
    return {
      why: `network.address is ${address}, and XDP needs an interface to other hosts`,
      cure: "Set network.address to this host's address in the network of the others.",
    };
  }
  return { name: address };
}

/** The plan with the faults that the configuration asks for: the library wraps what `of` names. */
export function withFaults(plan: ServingPlan, { network }: RuntimeConfig): ServingPlan {
  const faults = network.faults?.[plan.technology];
  if (faults === undefined) return plan;
  const options = [`of=${plan.technology}`, faults, ...(plan.options === "" ? [] : [plan.options])];
  return { ...plan, options: options.join(",") };
}

/** The plan with its engine where the configuration wants it. */
export const inPlace = (plan: ServingPlan, { engines }: RuntimeConfig): ServingPlan => ({
  ...plan,
  process: engines.process[plan.technology],
});

export function udpPlan({ engine, network }: RuntimeConfig): ServingPlan {
  return {
    technology: "udp",
    name: "network",
    engine,
    aliveMs: network.helloIntervalMs,
    options: "",
    at: { address: network.address, port: network.dataPort },
  };
}

export function xdpPlan(config: RuntimeConfig): ServingPlan {
  const { engine, network } = config;
  const { xdp } = network;
  const options = [
    ...(xdp.interface === null ? [] : [`interface=${xdp.interface}`]),
    `mode=${xdp.mode}`,
    ...(xdp.queue === null ? [] : [`queue=${xdp.queue}`]),
    ...(xdp.mtu === null ? [] : [`mtu=${xdp.mtu}`]),
  ];
  const pages = (xdp.mtu ?? 0) > XDP_PAGE_MTU ? Math.ceil(((xdp.mtu ?? 0) + XDP_ROOM) / PAGE) : 1;
  return {
    technology: "xdp",
    name: "xdp",
    engine: { ...engine, idle: xdp.idle ?? engine.idle, cpu: xdp.cpu },
    aliveMs: network.helloIntervalMs,
    options: options.join(","),
    // An interface that is named is reached by its own address.
    at: { address: xdp.interface === null ? network.address : "0.0.0.0", port: xdp.port },
    receive: { slots: xdp.slots ?? XDP_SLOTS[engine.mode], bytes: pages * PAGE - SLOT_HEADER },
  };
}
