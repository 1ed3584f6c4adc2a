// rate-local: one way as fast as it goes between two Node processes of one host, measured by the receiver.
import { insaneLocal } from "../insane/local.ts";
import type { Benchmark } from "../runner/benchmark.ts";
import { oneWay } from "../runner/readings.ts";
import { socketFolder } from "../runner/socket-folder.ts";
import { nodeProcessSend, nodeUnix } from "./local-peers.ts";
import { LOCAL_CONDITIONS, LOCAL_PAYLOADS } from "./rtt-local.ts";

export const rateLocal: Benchmark = {
  name: "rate-local",
  summary: "one way between two Node processes of one host as fast as it goes, measured by the receiver",
  payloads: LOCAL_PAYLOADS,
  compared: ["rate"],
  async open() {
    const folder = socketFolder();
    return {
      systems: [
        ...insaneLocal("rate", folder.path, oneWay),
        nodeUnix("rate", folder.path, oneWay),
        nodeProcessSend("rate", oneWay),
      ],
      conditions: LOCAL_CONDITIONS,
      close: folder.remove,
    };
  },
};
