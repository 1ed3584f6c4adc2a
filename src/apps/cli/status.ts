// `insane status`: what a runtime holds now; with --watch the machines of one session as they change.
import type { EndpointReport, StatusReport } from "../../runtime/api.ts";
import { type CommandSpec, type Parsed, SOCKET, toNumber } from "./arguments.ts";
import { BATCH_SIZES, batchRows, isBucket } from "./batches.ts";
import { EXIT } from "./exit.ts";
import { connectOperator, type Operator } from "./operator.ts";
import { duration, paint, percent, print, printJson, short, state, table } from "./render.ts";

const spec = {
  name: "status",
  summary: "Shows the sessions, streams, sources, sinks, links, engines and peers of a runtime.",
  positionals: "",
  minimum: 0,
  maximum: 0,
  options: {
    ...SOCKET,
    watch: {
      kind: "text",
      value: "SESSION",
      short: "w",
      description:
        "show the machines of this session (a number; 0: all) and their states as they change, until interrupted",
    },
  },
} as const satisfies CommandSpec;

async function main({ values }: Parsed<typeof spec.options>): Promise<number> {
  const session =
    values.watch === undefined
      ? null
      : toNumber("--watch", values.watch, { minimum: 0, maximum: 0xffffffff }, spec.name);
  await using operator = await connectOperator(values.socket, spec.name);
  if (session !== null) return await watch(operator, session, values.json);
  const report = (await operator.ask("status", {})) as StatusReport;
  if (values.json) printJson(report);
  else print(...describe(report));
  return EXIT.OK;
}

export const headline = ({ runtime, slots, quarantined, sessions }: StatusReport): string =>
  [
    `${paint("bold", runtime.name)} ${state(runtime.state)}, process ${runtime.pid}, version ${runtime.version}, up ${duration(runtime.uptimeMs)}`,
    `sessions ${sessions.length}, slots out ${short(slots.outstanding)} of ${short(slots.total)}`,
    ...(quarantined > 0 ? [paint("red", `quarantined ${quarantined}`)] : []),
  ].join("; ");

const section = (
  title: string,
  heading: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
): string[] => (rows.length === 0 ? [] : ["", paint("underline", title), ...table(heading, rows)]);

function describe(report: StatusReport): string[] {
  const streams = report.sessions.flatMap((session) => session.streams.map((stream) => ({ session, stream })));
  return [
    headline(report),
    ...section(
      "Sessions",
      ["ID", "NAME", "PROCESS", "USER", "STATE", "STREAMS"],
      report.sessions.map(({ id, name, pid, uid, state: at, streams }) => [
        String(id),
        name,
        String(pid),
        String(uid),
        state(at),
        String(streams.length),
      ]),
    ),
    ...section(
      "Streams",
      ["ID", "SESSION", "DATAPATH", "MOVES", "SOURCES", "SINKS", "STATE", "NAME"],
      streams.map(({ session, stream }) => [
        String(stream.id),
        String(session.id),
        stream.datapath ?? "none",
        String(stream.moves),
        String(stream.sources.length),
        String(stream.sinks.length),
        state(stream.state),
        stream.name,
      ]),
    ),
    ...section(
      "Sources",
      ["ID", "SESSION", "STREAM", "CHANNEL", "STATE", "EMITTED", "PUSHED", "CONSUMED", "DROPPED", "OUT", "UNMATCHED"],
      streams.flatMap(({ session, stream }) =>
        stream.sources.map((source) =>
          endpoint(source, session.id, stream.id, [
            "emitted",
            "pushed",
            "consumed",
            "dropped",
            "outstanding",
            "unmatched",
          ]),
        ),
      ),
    ),
    ...section(
      "Sinks",
      ["ID", "SESSION", "STREAM", "CHANNEL", "STATE", "RECEIVED", "CONSUMED", "DROPPED", "LOST", "HELD"],
      streams.flatMap(({ session, stream }) =>
        stream.sinks.map((sink) =>
          endpoint(sink, session.id, stream.id, ["received", "consumed", "dropped", "lost", "held"]),
        ),
      ),
    ),
    ...section(
      "Links",
      ["ID", "KIND", "STATE", "OUT", "CREDITS", "FROM", "TO"],
      report.links.map((link) => [
        String(link.id),
        link.kind,
        state(link.state),
        String(link.outstanding),
        String(link.entries),
        link.producer,
        link.consumer,
      ]),
    ),
    ...section(
      "Engines",
      ["NAME", "STATE", "MODE", "COUNTERS"],
      report.engines.map((engine) => [engine.name, state(engine.state), engine.mode, counters(engine.counters)]),
    ),
    ...section(
      "Threads",
      ["NAME", "SERVES", "MODE", "IDLE", "CORE", "DUTY"],
      report.threads.map((thread) => [
        thread.name,
        thread.engines.join(", "),
        thread.mode,
        thread.idle,
        thread.cpu === null ? "any" : String(thread.cpu),
        percent(thread.duty),
      ]),
    ),
    ...report.threadMoves.map(
      ({ at, engine, from, to, why }) =>
        `${at}  ${engine}: from the thread of ${from} to that of ${to}, because ${why}`,
    ),
    ...section(
      "Messages a datagram",
      ["ENGINE", "DIRECTION", ...BATCH_SIZES],
      report.engines.flatMap((engine) => batchRows(engine.name, engine.counters)),
    ),
    ...section(
      "Datapaths",
      ["LANE", "STATE", "ENDPOINT", "COUNTERS"],
      report.datapaths.map((datapath) => [
        datapath.emulated ? `${datapath.lane} (emulated)` : datapath.lane,
        state(datapath.state),
        datapath.endpoint,
        counters(datapath.counters),
      ]),
    ),
    ...section(
      "Peers",
      ["NAME", "ENDPOINT", "STATE", "WANTS", "HEARD"],
      report.peers.map((peer) => [
        peer.name || "?",
        peer.endpoint,
        state(peer.state),
        String(peer.subscriptions),
        peer.lastHeardMs < 0 ? "never" : `${duration(peer.lastHeardMs)} ago`,
      ]),
    ),
  ];
}

const endpoint = (
  { id, channel, state: at, stats }: EndpointReport,
  session: number,
  stream: number,
  names: ReadonlyArray<string>,
): string[] => [
  String(id),
  String(session),
  String(stream),
  String(channel),
  state(at),
  ...names.map((name) => short(stats[name] ?? 0)),
];

/** Those that count something. */
const counters = (all: Readonly<Record<string, number>>): string =>
  Object.entries(all)
    .filter(([name, value]) => value !== 0 && !isBucket(name))
    .map(([name, value]) => `${name} ${short(value)}`)
    .join(", ");

async function watch(operator: Operator, session: number, json: boolean): Promise<number> {
  const show = (machine: { readonly actor: string; readonly state: string }): void => {
    if (json) printJson({ time: new Date().toISOString(), ...machine }, 0);
    else print(`${new Date().toISOString().slice(11, 23)}  ${machine.actor.padEnd(24)} ${state(machine.state)}`);
  };
  operator.onNotification = (method, params) => {
    if (method === "machine.state") show(params as Parameters<typeof show>[0]);
    else if (method === "runtime.closing") process.stderr.write("insane: the runtime closes\n");
  };
  const interrupted = new Promise<void>((resolve) => {
    process.once("SIGINT", resolve);
    process.once("SIGTERM", resolve);
  });
  const { machines } = await operator.ask("watch", { session });
  for (const machine of machines) show(machine);
  await Promise.race([interrupted, operator.ended]);
  return EXIT.OK;
}

export const command = { spec, main };
