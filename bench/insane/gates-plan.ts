// What the sides of the gates benchmark and its runner agree on: the cycle, its windows, the streams.
import { streamTag } from "../../src/protocol/qos.ts";
import type { GateSchedule } from "../../src/runtime/api.ts";

export const HELLO_PORT = 9712;
export const CYCLE_NS = 1_000_000;
/** The time-sensitive window begins with the cycle. */
export const WINDOW_NS = 200_000;
/** Messages are emitted this far into a cycle: they wait for the next. */
export const EMIT_NS = 500_000;
export const LAST_EMIT_NS = 800_000;
export const URGENT = { name: "bench-urgent", timeSensitivity: "time-sensitive" } as const;
export const BULK = { name: "bench-bulk" } as const;
export const CHANNELS = { urgent: 1, bulk: 2 } as const;
export const URGENT_TAG = streamTag(URGENT.name);

export const SCHEDULE: GateSchedule = {
  lineRateMbps: 1000,
  baseTime: 0,
  cycleNs: CYCLE_NS,
  marginNs: 15_000,
  entries: [
    { gates: 0x80, intervalNs: WINDOW_NS },
    { gates: 0x01, intervalNs: CYCLE_NS - WINDOW_NS },
  ],
};
