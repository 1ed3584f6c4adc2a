// From a configuration to what serves each technology: engine, receive pool, where its datapath listens and with which
// options. Pure.
import type { ServingPlan } from "../actors/serving.ts";
import { technologyOf, UDP_LANES } from "../protocol/lanes.ts";
import type { RuntimeConfig } from "./api.ts";
import { isLoopback } from "./endpoint.ts";
import { rdmaPlan } from "./rdma.ts";

/** AF_XDP works on pages: a slot, its header included, is a whole number of them. */
const PAGE = 4096;
const SLOT_HEADER = 64;
/** Largest IP datagram that one page takes, with all that goes before it. */
const XDP_PAGE_MTU = 3820;
/** All of them are used in turn: few stay in the caches, many outlast a burst while a thread wakes up. */
const XDP_SLOTS = { inline: 256, thread: 2048 };
/** What goes before a datagram in its slots: Ethernet header with a tag, and the kernel's own. */
const XDP_ROOM = 280;

/** DPDK puts a frame 166 bytes into a slot, four more are a tag's, and wants room for the whole frame that its device may hold. */
const DPDK_ROOM = 170;
/** Frames of an af_packet device that is not told otherwise, bytes. */
const AF_PACKET_FRAME = 2048;
/** Slots that hold the trains which a kernel sender hands over whole on a virtual link, as the library's own device does. */
const TRAIN_BYTES = 65_536;
/** Largest IP datagram of a device that is not told otherwise. */
const USUAL_MTU = 1500;
const DPDK_SLOTS = { inline: 256, thread: 512 };

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
  const faults = network.faults?.[technologyOf(plan.lane)];
  if (faults === undefined) return plan;
  const options = [`of=${technologyOf(plan.lane)}`, faults, ...(plan.options === "" ? [] : [plan.options])];
  return { ...plan, options: options.join(",") };
}

/** The plan with its engine where the configuration wants it. */
export const inPlace = (plan: ServingPlan, { engines }: RuntimeConfig): ServingPlan => ({
  ...plan,
  process: engines.process[technologyOf(plan.lane)],
});

export function udpPlan({ engine, network, limits }: RuntimeConfig): ServingPlan {
  return {
    lane: "udp",
    name: "network",
    engine,
    aliveMs: network.helloIntervalMs,
    largeBytes: limits.largeBytesPerStream,
    options: network.udp.trains ? "" : "trains=0",
    at: { address: network.address, port: network.dataPort },
  };
}

/** The lanes of kernel UDP besides its own: threads that receive, each at a port of its own. */
export function udpReceivers(config: RuntimeConfig): ServingPlan[] {
  const own = udpPlan(config);
  const { port } = own.at;
  return UDP_LANES.slice(1, config.network.udp.threads).map((lane, i) => ({
    ...own,
    lane,
    name: lane,
    // The core that is named is the sending engine's.
    engine: { ...own.engine, cpu: null, fifoPriority: null },
    at: { ...own.at, port: port === 0 ? 0 : port + i + 1 },
  }));
}

export function xdpPlan(config: RuntimeConfig): ServingPlan {
  const { engine, network } = config;
  const { xdp } = network;
  const options = [
    ...(xdp.interface === null ? [] : [`interface=${xdp.interface}`]),
    `mode=${xdp.mode}`,
    ...(xdp.queue === null ? [] : [`queue=${xdp.queue}`]),
    ...(xdp.mtu === null ? [] : [`mtu=${xdp.mtu}`]),
    ...(xdp.priorityTags ? ["tags=priority"] : []),
  ];
  const pages = (xdp.mtu ?? 0) > XDP_PAGE_MTU ? Math.ceil(((xdp.mtu ?? 0) + XDP_ROOM) / PAGE) : 1;
  return {
    lane: "xdp",
    name: "xdp",
    engine: { ...engine, idle: xdp.idle ?? engine.idle, cpu: xdp.cpu },
    aliveMs: network.helloIntervalMs,
    largeBytes: config.limits.largeBytesPerStream,
    options: options.join(","),
    // An interface that is named is reached by its own address.
    at: { address: xdp.interface === null ? network.address : "0.0.0.0", port: xdp.port },
    receive: { slots: xdp.slots ?? XDP_SLOTS[engine.mode], bytes: pages * PAGE - SLOT_HEADER },
  };
}

/** What DPDK is to be opened with, as the library's options; or why this runtime does without. */
export function dpdkOptions({
  network,
}: RuntimeConfig): { readonly options: string } | { readonly why: string; readonly cure: string } {
  const { dpdk } = network;
  if (!network.enabled || dpdk.enabled === false) {
    const field = network.enabled ? "network.dpdk.enabled" : "network.enabled";
    return { why: `it is switched off in this runtime's configuration (${field})`, cure: `Set ${field}.` };
  }
  if (dpdk.interface === null && dpdk.device === null) {
    return {
      why: "no device is configured for DPDK",
      cure: "Set network.dpdk.interface (or network.dpdk.device) and network.dpdk.address.",
    };
  }
  const pages = { auto: "auto", true: "yes", false: "no" }[`${dpdk.hugepages}`];
  const options = [
    `prefix=${dpdk.prefix}`,
    ...(dpdk.gateway === null ? [] : [`gateway=${dpdk.gateway}`]),
    ...(dpdk.mtu === null ? [] : [`mtu=${dpdk.mtu}`]),
    `hugepages=${pages}`,
    `memory=${dpdk.memory}`,
    ...(dpdk.priorityTags ? ["tags=priority"] : []),
    // The last one, for the sake of its commas.
    dpdk.interface === null ? `device=${dpdk.device}` : `interface=${dpdk.interface}`,
  ];
  return { options: options.join(",") };
}

export function dpdkPlan(config: RuntimeConfig, options: string): ServingPlan {
  const { engine, network } = config;
  const { dpdk } = network;
  const mode = config.engines.process.dpdk ? "thread" : engine.mode;
  return {
    lane: "dpdk",
    name: "dpdk",
    engine: { ...engine, idle: dpdk.idle ?? engine.idle, cpu: dpdk.cpu },
    aliveMs: network.helloIntervalMs,
    largeBytes: config.limits.largeBytesPerStream,
    options,
    at: { address: dpdk.address ?? "0.0.0.0", port: dpdk.port },
    receive: { slots: dpdk.slots ?? DPDK_SLOTS[mode], bytes: dpdkSlotBytes(dpdk) },
  };
}

function dpdkSlotBytes({ device, mtu }: RuntimeConfig["network"]["dpdk"]): number {
  if (device === null) return TRAIN_BYTES;
  const given = /^net_af_packet/.test(device) ? (/,framesz=(\d+)/.exec(device)?.[1] ?? AF_PACKET_FRAME) : 0;
  const frame = Math.max(Number(given), mtu ?? USUAL_MTU);
  return Math.ceil((frame + DPDK_ROOM) / PAGE) * PAGE - SLOT_HEADER;
}

/** All that this runtime is configured to serve; kernel UDP first. */
export function servingPlans(config: RuntimeConfig): ServingPlan[] {
  const plans = [udpPlan(config)];
  if ("name" in xdpInterface(config)) plans.push(xdpPlan(config));
  const dpdk = dpdkOptions(config);
  if ("options" in dpdk) plans.push(dpdkPlan(config, dpdk.options));
  const rdma = rdmaPlan(config);
  if (rdma !== null) plans.push(rdma);
  plans.push(...udpReceivers(config));
  return plans.map((plan) => inPlace(withFaults(plan, config), config));
}
