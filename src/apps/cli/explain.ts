// `insane explain`: why each stream, or one, is bound as it is; every candidate with its rule, evidence and cure.

import type { CandidateRecord, DecisionRecord } from "../../protocol/control.ts";
import { batches } from "../../protocol/qos.ts";
import { WIRE } from "../../protocol/wire.ts";
import type { ExplainReport, LatencyReport, ScheduleReport } from "../../runtime/api.ts";
import { type CommandSpec, type Parsed, SOCKET, wrap } from "./arguments.ts";
import { EXIT } from "./exit.ts";
import { connectOperator } from "./operator.ts";
import { paint, percent, print, printJson, table } from "./render.ts";

const spec = {
  name: "explain",
  summary: "Says why streams are bound as they are: the rule, every candidate, its evidence, what to do about it.",
  positionals: "[STREAM]",
  minimum: 0,
  maximum: 1,
  options: SOCKET,
  details: "STREAM is a stream's name as `insane status` shows it. Without one, all streams are explained.",
} as const satisfies CommandSpec;

async function main({ values, positionals }: Parsed<typeof spec.options>): Promise<number> {
  await using operator = await connectOperator(values.socket, spec.name);
  const [stream] = positionals;
  const reports = (await operator.ask(
    "explain",
    stream === undefined ? {} : { stream },
  )) as ReadonlyArray<ExplainReport>;
  if (values.json) printJson(reports);
  else if (reports.length > 0) print(...reports.flatMap((report, i) => [...(i > 0 ? [""] : []), ...describe(report)]));
  else if (stream === undefined) print(`Runtime ${operator.runtime.name} has no streams yet.`);
  if (reports.length === 0 && stream !== undefined) {
    process.stderr.write(
      `insane: ENOENT: runtime ${operator.runtime.name} has no stream "${stream}"; \`insane status\` lists them\n`,
    );
    return EXIT.FAILURE;
  }
  return EXIT.OK;
}

function describe(report: ExplainReport): string[] {
  const { stream, tag, sessions, decision, schedule, thread, receivers, moved, moves, links, peers } = report;
  const users = sessions.map(
    ({ session, name, domain, copies }) =>
      `${name} (session ${session}${copies ? `; ${domain}: a foreign trust domain, which receives copies` : ""})`,
  );
  const lines = [
    `${paint("bold", stream)}  (tag ${tag.toString(16).padStart(8, "0")}), used by ${users.join(", ") || "nobody"}`,
    `  asked for   ${qosText(decision)}`,
    `  other hosts ${decision.datapath === null ? paint("red", "none: this host only") : `reached over ${paint("green", decision.datapath)}`}, by the strategy "${decision.strategy}", decided ${decision.decidedAt}`,
    `  this host   shared memory (${decision.local}), from source to sink with nobody in between`,
    ...(decision.datapath === null ? [] : [`  waiting     ${waitText(decision.wait)}`]),
    `  trust       ${decision.trustDomain}: only its applications have the memory in which its messages arrive`,
  ];
  if (thread) lines.push(`  thread      ${threadText(thread)}`);
  for (const one of receivers) lines.push(`  receives on ${threadText(one)}`);
  const large = largeText(decision);
  if (large !== null) lines.push(`  large       ${large}`);
  if (schedule) lines.push(...scheduleLines(schedule));
  for (const { code, message, cure } of decision.warnings) {
    lines.push(
      ...indented(`${paint("yellow", code)}: ${message}`, 2),
      ...(cure === "" ? [] : indented(`do: ${cure}`, 4)),
    );
  }
  lines.push(
    "",
    `  What could carry it, why (not), and by which rule [in brackets]:`,
    ...decision.candidates.flatMap(candidate),
  );
  if (moves.length > 0) lines.push("", ...moved.map(movesText), ...movesTable(moves));
  if (links.length > 0) {
    const rows = links.map((link) => [
      link.kind,
      link.lane ?? "shm",
      link.producer,
      link.consumer,
      String(link.outstanding),
      waited(link.latency),
    ]);
    lines.push("", ...table(["LINK", "OVER", "FROM", "TO", "UNDER WAY", "WAITED"], rows).map((line) => `  ${line}`));
  }
  if (peers.length > 0) {
    const rows = peers.map((peer) => [
      peer.name,
      peer.state,
      `${peer.technology} ${peer.here}`,
      `${peer.thereLane} ${peer.there}${peer.technology === "udp" && !peer.trains ? ", datagrams one by one" : ""}`,
    ]);
    lines.push("", ...table(["PEER", "STATE", "HERE", "THERE"], rows).map((line) => `  ${line}`));
  }
  return lines;
}

/** How messages that no datagram holds are received from other hosts; null: the stream has none. */
function largeText({ qos, datapath }: DecisionRecord): string | null {
  const whole = datapath === "udp" ? WIRE.MAX_PAYLOAD : WIRE.ALWAYS_WHOLE;
  if (qos.maxMessage <= whole || datapath === null) return null;
  const how =
    datapath === "udp"
      ? "received where they belong; what comes out of order is copied, and counted"
      : `each fragment is copied once from ${datapath}'s receive slot to where it belongs`;
  const which = datapath === "udp" ? `of more than ${WIRE.MAX_PAYLOAD} bytes` : "larger than a datagram of the path";
  return `messages ${which} are fragmented; ${how}`;
}

/** How the engine behind the stream waits for messages: "park", "spin on cpu 3". */
function waitText(wait: string): string {
  const [how = "", ...where] = wait.split(" ");
  const means: Record<string, string> = {
    park: "the engine sleeps until something comes",
    yield: "the engine looks all the time, after others that want its core",
    spin: "the engine looks all the time and has a core for that",
    inline: "the application's own thread looks, when it polls",
  };
  return `${means[how] ?? how} (${[how, ...where].join(" ")})`;
}

function threadText({ engines, mode, idle, cpu, duty }: NonNullable<ExplainReport["thread"]>): string {
  const where = mode === "thread" ? `the one that serves ${engines.join(" and ")}` : `one of its own (${mode})`;
  return `${where}; it ${idle}s when idle, ${cpu === null ? "on any core" : `on core ${cpu}`}; has worked ${percent(duty)} of the last second`;
}

function movesText({ session, times, pauseMicroseconds, lost, duplicated, reordered }: ExplainReport["moved"][number]) {
  return `  session ${session} has moved ${times === 1 ? "once" : `${times} times`}: sending paused for ${pauseMicroseconds} us in all; ${lost} messages lost, ${duplicated} came twice, ${reordered} too late`;
}

function movesTable(moves: ExplainReport["moves"]): string[] {
  const rows = moves.map((move) => [
    move.at,
    String(move.session),
    move.from ?? "none",
    move.to ?? "none",
    move.why,
    `${move.pauseMicroseconds} us`,
    String(move.lost),
    String(move.duplicated),
    String(move.reordered),
  ]);
  const head = ["MOVED", "SESSION", "FROM", "TO", "WHY", "PAUSE", "LOST", "DOUBLED", "REORDERED"];
  return table(head, rows).map((line) => `  ${line}`);
}

function scheduleLines(schedule: ScheduleReport): string[] {
  const { trafficClass, cycleNs, longestWindowNs, promisedNs, marginNs, lineRateMbps, entries } = schedule;
  const number = (value: number): string => value.toLocaleString("en-US");
  const mine = (gates: number): string => (((gates >> trafficClass) & 1) === 1 ? paint("green", "open") : "shut");
  const list = entries.map(({ gates, intervalNs }) => `${number(intervalNs)} ns ${mine(gates)}`).join(", ");
  return [
    `  schedule    class ${trafficClass}; cycle ${number(cycleNs)} ns at ${lineRateMbps} Mbit/s, margin ${number(marginNs)} ns`,
    ...indented(`gate: ${list}`, 14),
    `              longest window ${number(longestWindowNs)} ns; promised ${number(promisedNs)} ns of each cycle`,
  ];
}

/** Emission to hand-over of time-sensitive messages. */
function waited(latency: LatencyReport | null): string {
  if (latency === null || latency.count === 0) return "";
  const part = (name: string, below: number | null): string => `${name} ${below === null ? "beyond" : `< ${below} us`}`;
  return `${part("p50", latency.p50BelowUs)}, ${part("p99", latency.p99BelowUs)}`;
}

const qosText = ({ qos }: DecisionRecord): string =>
  `acceleration ${qos.acceleration}, consumption ${qos.consumption}, ${qos.timeSensitivity}, messages of at most ${qos.maxMessage} bytes, ${batches(qos) ? "small ones share datagrams" : "each in a datagram of its own"}`;

function candidate({ technology, verdict, rule, why, evidence, cure }: CandidateRecord): string[] {
  const mark = { chosen: paint("green", "chosen"), rejected: "no    ", "co-located": paint("green", "local ") }[
    verdict
  ];
  const [first = "", ...more] = wrap(`${why} [${rule}]`, 100 - 15);
  return [
    `  ${technology.padEnd(4)} ${mark}  ${first}`,
    ...more.map((line) => " ".repeat(15) + line),
    ...evidence.map((line) => paint("gray", `${" ".repeat(15)}${line}`)),
    ...(cure === "" ? [] : indented(`do: ${cure}`, 15)),
  ];
}

const indented = (text: string, by: number): string[] => wrap(text, 100 - by).map((line) => " ".repeat(by) + line);

export const command = { spec, main };
