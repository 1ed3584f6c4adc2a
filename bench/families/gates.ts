// gates: how late after their window's opening time-sensitive frames leave, and how many leave outside it, by the kernel's
// time stamps where they arrive; with and without best-effort load. A spinning engine on a core of its own.

import { insaneUnavailable } from "../insane/daemon.ts";
import { CHANNELS, CYCLE_NS, URGENT_TAG, WINDOW_NS } from "../insane/gates-plan.ts";
import type { Benchmark, System } from "../runner/benchmark.ts";
import type { Measurement } from "../runner/figures.ts";
import { nativeProgram, nativeUnavailable, nodeProgram, onHost } from "../runner/hosts.ts";
import { withPrograms } from "../runner/processes.ts";
import { openTopology, PORT, type Topology, topologyUnavailable } from "../runner/topology.ts";

const MTU = 1500;
const CAPTURE = "raw_gates_capture";
const RAW = "raw_gates_spin";
const PER = 10_000;

function system({ a, b }: Topology, load: "none" | "best-effort"): System {
  return {
    system: "insane",
    datapath: "udp",
    mode: "spin",
    keys: { load },
    threads:
      "1 spins: the sender's engine on core 0; both applications, the receiver's engine and the capture share core 1",
    unavailable: insaneUnavailable() ?? nativeUnavailable(CAPTURE),
    measure: (point) =>
      withPrograms(async (start) => {
        const window = [URGENT_TAG, CHANNELS.urgent, CYCLE_NS, 0, WINDOW_NS];
        const capture = start(onHost(b, "capture", nativeProgram(CAPTURE), [b.device, ...window]));
        await capture.ready();
        const side = (role: string, self: typeof a, other: typeof a) => {
          const args = [nodeProgram("bench/insane/gates"), role, self.address, other.address];
          return [...args, point.payload, point.seconds, load];
        };
        const receiver = start(onHost(b, "insane gates receiver", process.execPath, side("receive", b, a)));
        await receiver.ready();
        // Its engine may only spin where the process may use both cores; garbage is collected by the one thread there is.
        const wide = ["-c", "0,1", process.execPath, "--single-threaded", ...side("send", a, b)];
        const sender = start(onHost(a, "insane gates sender", "taskset", wide));
        const sent = await sender.result(point.seconds, receiver, capture);
        const { measurements, share, outside } = lateness(sent, await capture.result(5));
        const uncounted = share(Math.max(0, outside - (sent["late"] ?? 0)));
        return [...measurements, { metric: "outside-uncounted", unit: "per 10,000", p50: uncounted }];
      }),
  };
}

/** What a loop in C that looks at the clock and calls send gives: the machine's own part of the lateness. */
function rawSpin({ a, b }: Topology): System {
  return {
    system: "raw-udp-spin",
    datapath: "udp",
    mode: "spin",
    keys: { load: "none" },
    threads: "1 spins: the sender on core 0; the receiver blocks and shares core 1 with the capture",
    unavailable: nativeUnavailable(CAPTURE) ?? nativeUnavailable(RAW),
    measure: (point) =>
      withPrograms(async (start) => {
        const window = [URGENT_TAG, CHANNELS.urgent, CYCLE_NS, 0, WINDOW_NS];
        const capture = start(onHost(b, "capture", nativeProgram(CAPTURE), [b.device, ...window]));
        await capture.ready();
        const ends = (self: typeof a, other: typeof a) => [self.address, other.address, PORT];
        const receiver = start(onHost(b, "raw gates receiver", nativeProgram(RAW), ["receive", ...ends(b, a)]));
        await receiver.ready();
        const tail = [point.payload, point.seconds, URGENT_TAG, CHANNELS.urgent, CYCLE_NS];
        const sender = start(onHost(a, "raw gates sender", nativeProgram(RAW), ["send", ...ends(a, b), ...tail]));
        const sent = await sender.result(point.seconds, receiver, capture);
        return lateness(sent, await capture.result(5)).measurements;
      }),
  };
}

/** What the capture saw of what was sent. */
function lateness(sent: Record<string, number>, seen: Record<string, number>) {
  const { frames = 0, outside = 0, p50 = 0, p99 = 0 } = seen;
  if (frames < (sent["sent"] ?? 0) * 0.99) throw new Error(`${sent["sent"]} were sent, ${frames} captured`);
  const share = (count: number): number => (count * PER) / frames;
  const measurements: Measurement[] = [
    { metric: "lateness", unit: "us", p50, p99 },
    { metric: "lateness-p999", unit: "us", p50: seen["p999"] ?? 0 },
    { metric: "lateness-worst", unit: "us", p50: seen["worst"] ?? 0 },
    { metric: "outside", unit: "per 10,000", p50: share(outside) },
  ];
  return { measurements, share, outside };
}

export const gates: Benchmark = {
  name: "gates",
  summary: "time-sensitive frames against their window of 200 us in a cycle of 1 ms, by the receiver's time stamps",
  payloads: [256],
  compared: [],
  async open({ rps }) {
    const why = topologyUnavailable();
    if (why !== undefined) throw new Error(why);
    const topology = openTopology(rps, MTU);
    const receive = rps
      ? "each side's receive work on its own core (RPS)"
      : "receive work on the sender's core (no RPS)";
    return {
      systems: [system(topology, "none"), system(topology, "best-effort"), rawSpin(topology)],
      conditions: `two namespaces joined by veth, MTU ${MTU}, ${receive}; schedule for 1 Gbit/s`,
      rps,
      close: topology.close,
    };
  },
};
