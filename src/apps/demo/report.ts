// What the demo tells: each stream's binding and why, the closing table for people, one JSON object for programs.
import { styleText } from "node:util";
import type { FromRole, StreamReport } from "./roles.ts";

export type Sent = Extract<FromRole, { type: "sent" }>;
export type Received = Extract<FromRole, { type: "received" }> & { readonly name: string; readonly over: string };

export interface Outcome {
  readonly streams: ReadonlyArray<StreamReport>;
  readonly sensor: Sent;
  readonly camera: Sent;
  readonly receivers: ReadonlyArray<Received>;
  readonly killed: string;
  readonly slots: { readonly total: number; readonly outstanding: number };
}

const line = (text = ""): void => void process.stdout.write(`${text}\n`);
const bold = (text: string): string => styleText("bold", text, { stream: process.stdout });
const faint = (text: string): string => styleText("dim", text, { stream: process.stdout });
const number = (value: number): string => value.toLocaleString("en-US");

export function tellBinding(stream: StreamReport): void {
  line(
    `${bold(stream.name)} of ${stream.by} asked for: ${stream.requested}; bound to ${bold(stream.datapath ?? "nothing")} across hosts, ${bold("shm")} on this one`,
  );
  for (const candidate of stream.decision.candidates) {
    const mark = candidate.verdict === "rejected" ? faint("  -") : "  +";
    line(`${mark} ${candidate.technology.padEnd(5)} ${candidate.why}`);
  }
  for (const warning of stream.warnings)
    line(
      `  ${styleText("yellow", warning.code, { stream: process.stdout })} ${warning.message} ${faint(warning.cure)}`,
    );
}

/** The object that `--json` prints on the last line. */
export function summary(outcome: Outcome) {
  const { sensor, camera, receivers, slots } = outcome;
  const messages = {
    emitted: sensor.messages + camera.messages,
    delivered: receivers.reduce((sum, r) => sum + r.readings + r.frames, 0),
    dropped: receivers.reduce((sum, r) => sum + r.lost, 0),
  };
  const frames = {
    sent: camera.frames,
    received: receivers.reduce((sum, r) => sum + r.frames, 0),
    intact: receivers.reduce((sum, r) => sum + r.intact, 0),
  };
  const ok =
    messages.delivered === messages.emitted * receivers.length &&
    frames.intact === frames.sent * receivers.length &&
    messages.dropped === 0 &&
    slots.outstanding === 0;
  return {
    ok,
    streams: outcome.streams.map(({ name, by, requested, datapath, warnings }) => ({
      name,
      by,
      requested,
      datapath,
      warnings,
    })),
    receivers: receivers.length,
    messages,
    frames,
    slots,
  };
}

export function tellTable(outcome: Outcome): void {
  const { sensor, camera, receivers, slots, killed } = outcome;
  const total = summary(outcome);
  line();
  const rate = (camera.bytes / camera.seconds / 1e6).toFixed(0);
  line(
    `sensor: ${number(sensor.messages)} readings in ${sensor.seconds.toFixed(1)} s; camera: ${camera.frames} frames, ${rate} MB/s to each receiver; ${killed} was killed midway`,
  );
  line();
  const columns = [
    "receiver",
    "frames over",
    "readings",
    "latency p50/p99",
    "frames",
    "intact",
    "frame p50/p99",
    "dropped",
  ];
  const rows = receivers.map((r) => [
    r.name,
    r.over,
    number(r.readings),
    `${r.readingLatency.p50}/${r.readingLatency.p99} us`,
    String(r.frames),
    String(r.intact),
    `${(r.frameLatency.p50 / 1000).toFixed(0)}/${(r.frameLatency.p99 / 1000).toFixed(0)} ms`,
    String(r.lost),
  ]);
  const widths = columns.map((title, i) => Math.max(title.length, ...rows.map((row) => (row[i] as string).length)));
  for (const row of [columns, ...rows])
    line(
      row
        .map((cell, i) => cell.padEnd(widths[i] as number))
        .join("  ")
        .trimEnd(),
    );
  for (const r of receivers) if (r.picture !== null) line(`${r.name} saved the last frame it received: ${r.picture}`);
  line();
  const expected = total.messages.emitted * receivers.length;
  line(
    `emitted ${number(total.messages.emitted)} to ${receivers.length} receivers  delivered ${number(total.messages.delivered)} of ${number(expected)}  dropped ${total.messages.dropped}  slots outstanding ${slots.outstanding} of ${number(slots.total)}`,
  );
  line(
    total.ok
      ? styleText("green", "ok: everything arrived, every frame intact, every slot came home", {
          stream: process.stdout,
        })
      : styleText("red", "not ok", { stream: process.stdout }),
  );
}
