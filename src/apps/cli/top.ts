// `insane top`: sources and sinks with their rates, redrawn until interrupted.
import { setTimeout as sleep } from "node:timers/promises";
import type { StatusReport } from "../../runtime/api.ts";
import { type CommandSpec, type Parsed, SOCKET } from "./arguments.ts";
import { batchShares } from "./batches.ts";
import { EXIT } from "./exit.ts";
import { connectOperator } from "./operator.ts";
import { type Rate, ratesBetween } from "./rates.ts";
import { duration, paint, percent, print, printJson, short, state, table } from "./render.ts";
import { headline } from "./status.ts";

const spec = {
  name: "top",
  summary: "Shows sources and sinks with their rates, drops and slots, live.",
  positionals: "",
  minimum: 0,
  maximum: 0,
  options: {
    ...SOCKET,
    interval: {
      kind: "number",
      value: "SECONDS",
      short: "n",
      minimum: 0.1,
      maximum: 3600,
      fraction: true,
      description: "time between two pictures (1)",
    },
    once: { kind: "flag", description: "one picture, of one interval, then end" },
  },
} as const satisfies CommandSpec;

const ENTER = "\u001b[?1049h\u001b[?25l";
const LEAVE = "\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const CLEAR_LINE = "\u001b[K";
const CLEAR_REST = "\u001b[J";

async function main({ values }: Parsed<typeof spec.options>): Promise<number> {
  await using operator = await connectOperator(values.socket, spec.name);
  const interval = (values.interval ?? 1) * 1000;
  const interrupt = new AbortController();
  const stop = (): void => interrupt.abort();
  process.once("SIGINT", stop);
  process.once("SIGTERM", stop);
  void operator.ended.then(stop);
  const screen = process.stdout.isTTY && !values.json && !values.once;
  if (screen) process.stdout.write(ENTER);
  try {
    let before = (await operator.ask("status", {})) as StatusReport;
    let at = performance.now();
    do {
      await sleep(interval, undefined, { signal: interrupt.signal });
      const report = (await operator.ask("status", {})) as StatusReport;
      const now = performance.now();
      const rates = ratesBetween(before, report, (now - at) / 1000);
      if (values.json)
        printJson({ time: new Date().toISOString(), slots: report.slots, quarantined: report.quarantined, rates }, 0);
      else if (screen) draw(picture(before, report, rates));
      else print(...picture(before, report, rates));
      before = report;
      at = now;
    } while (!values.once);
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
  } finally {
    if (screen) process.stdout.write(LEAVE);
  }
  return EXIT.OK;
}

function draw(lines: ReadonlyArray<string>): void {
  const rows = process.stdout.rows ?? 24;
  const shown = lines.slice(0, rows - 1).map((line) => line + CLEAR_LINE);
  process.stdout.write(`${HOME}${shown.join("\n")}${CLEAR_REST}`);
}

function picture(before: StatusReport, report: StatusReport, rates: ReadonlyArray<Rate>): string[] {
  const rows = [...rates]
    .sort((a, b) => b.messagesPerSecond - a.messagesPerSecond || a.id - b.id)
    .map((rate) => [
      rate.kind,
      String(rate.id),
      String(rate.channel),
      `${short(rate.messagesPerSecond)}/s`,
      `${short(rate.bytesPerSecond)}B/s`,
      short(rate.messages),
      rate.dropped > 0 ? paint("yellow", short(rate.dropped)) : "0",
      rate.lost > 0 ? paint("red", short(rate.lost)) : "0",
      short(rate.out),
      rate.datapath,
      rate.session,
      rate.stream,
    ]);
  const peers = report.peers.map(
    ({ name, endpoint, state: at, lastHeardMs }) => `${name || endpoint} ${state(at)} (${duration(lastHeardMs)})`,
  );
  const batches = report.engines.flatMap(({ name, counters }) => {
    const shares = batchShares(before.engines.find((engine) => engine.name === name)?.counters ?? {}, counters);
    return shares === "" ? [] : [`${name} sent datagrams of so many messages: ${shares}`];
  });
  return [
    headline(report),
    ...(report.threads.length > 0
      ? [`threads: ${report.threads.map(({ engines, duty }) => `${engines.join("+")} ${percent(duty)}`).join(", ")}`]
      : []),
    ...(peers.length > 0 ? [`peers: ${peers.join(", ")}`] : []),
    ...batches,
    "",
    ...table(
      ["KIND", "ID", "CHANNEL", "MESSAGES", "BYTES", "ALL", "DROPPED", "LOST", "OUT", "PATH", "SESSION", "STREAM"],
      rows,
    ),
    ...(rows.length === 0 ? ["nothing is open: try `insane sub 1` and `insane pub 1 hello`"] : []),
  ];
}

export const command = { spec, main };
