// rtt-local: one message in flight between two Node processes of one host.
import { insaneLocal } from "../insane/local.ts";
import type { Benchmark } from "../runner/benchmark.ts";
import { roundTrip } from "../runner/readings.ts";
import { socketFolder } from "../runner/socket-folder.ts";
import { nodeProcessSend, nodeUnix } from "./local-peers.ts";

export const LOCAL_PAYLOADS = [64, 1024, 65536, 33554432] as const;

export const LOCAL_CONDITIONS =
  "two Node processes on one host, core 0 and core 1; the application neither writes nor reads the payload beyond its first bytes";

export const rttLocal: Benchmark = {
  name: "rtt-local",
  summary: "round trip between two Node processes of one host, one message in flight",
  payloads: LOCAL_PAYLOADS,
  compared: ["rtt"],
  async open() {
    const folder = socketFolder();
    return {
      systems: [
        ...insaneLocal("rtt", folder.path, roundTrip),
        nodeUnix("rtt", folder.path, roundTrip),
        nodeProcessSend("rtt", roundTrip),
      ],
      conditions: LOCAL_CONDITIONS,
      close: folder.remove,
    };
  },
};
