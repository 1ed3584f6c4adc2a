// Finds the command, runs it, and turns whatever goes wrong into one readable line and an exit code. Each command is
// loaded when it is called for, so that `insane pub` does not pay for the runtime.
import { InsaneError } from "../../protocol/codes.ts";
import { type CommandSpec, columns, helpOf, type Parsed, parseCommand } from "./arguments.ts";
import { EXIT, exitCodeOf, UsageError } from "./exit.ts";

/** What a command's file exports. */
export interface Command {
  readonly spec: CommandSpec;
  // Each command knows the type of its own options; here they are whatever its spec made of them.
  // biome-ignore lint/suspicious/noExplicitAny: typed by each command's own spec
  readonly main: (parsed: Parsed<any>) => Promise<number> | number;
}

const COMMANDS: Readonly<Record<string, { readonly summary: string; readonly load: () => Promise<Command> }>> = {
  up: { summary: "run a runtime in the foreground", load: async () => (await import("./up.ts")).command },
  doctor: {
    summary: "what this host can offer, and what is missing",
    load: async () => (await import("./doctor.ts")).command,
  },
  status: {
    summary: "sessions, streams, sources, sinks, links and peers",
    load: async () => (await import("./status.ts")).command,
  },
  top: { summary: "the same, live, with rates", load: async () => (await import("./top.ts")).command },
  explain: { summary: "why a stream is bound as it is", load: async () => (await import("./explain.ts")).command },
  "set-qos": {
    summary: "give an open stream another quality",
    load: async () => (await import("./set-qos.ts")).command,
  },
  topics: {
    summary: "topics that are published or subscribed to",
    load: async () => (await import("./topics.ts")).command,
  },
  echo: {
    summary: "messages of topics, with latency and values",
    load: async () => (await import("./echo.ts")).command,
  },
  hz: { summary: "how often messages of topics come", load: async () => (await import("./hz.ts")).command },
  pub: { summary: "send messages from the shell", load: async () => (await import("./pub.ts")).command },
  sub: { summary: "print messages as they arrive", load: async () => (await import("./sub.ts")).command },
  stream: {
    summary: "stream pictures or video, and view them (Lunar Streaming)",
    load: async () => (await import("./stream.ts")).command,
  },
};

/** Runs one command line; resolves with the exit code. */
export async function run(line: ReadonlyArray<string>): Promise<number> {
  // A reader that went away (`insane sub 1 | head`) is no failure of ours.
  process.stdout.on("error", (cause: NodeJS.ErrnoException) => process.exit(cause.code === "EPIPE" ? 0 : 1));
  const json = line.includes("--json");
  try {
    const [name, ...rest] = line;
    if (name === undefined) {
      process.stderr.write(overview());
      return EXIT.USAGE;
    }
    if (name === "--help" || name === "-h" || name === "help") return await help(rest[0]);
    if (name === "--version" || name === "version") {
      const { VERSION } = await import("../../protocol/version.ts");
      process.stdout.write(`${VERSION}\n`);
      return EXIT.OK;
    }
    const command = await find(name);
    const parsed = parseCommand(command.spec, rest);
    if (parsed.values.help) {
      process.stdout.write(helpOf(command.spec));
      return EXIT.OK;
    }
    return await command.main(parsed);
  } catch (error) {
    report(error, json);
    return exitCodeOf(error);
  }
}

function find(name: string): Promise<Command> {
  const entry = COMMANDS[name];
  if (!Object.hasOwn(COMMANDS, name) || entry === undefined) {
    throw new UsageError(`there is no command "${name}"; there are ${Object.keys(COMMANDS).join(", ")}`);
  }
  return entry.load();
}

async function help(name: string | undefined): Promise<number> {
  process.stdout.write(name === undefined ? overview() : helpOf((await find(name)).spec));
  return EXIT.OK;
}

function overview(): string {
  const rows = Object.entries(COMMANDS).map(([name, { summary }]): [string, string] => [name, summary]);
  return `${[
    "INSANE: ask for a quality, get the best datapath this host can offer.",
    "",
    "usage: insane COMMAND [options]",
    "",
    ...columns(rows),
    "",
    "First steps: insane up; then, in other shells, insane sub greetings and insane pub greetings hello.",
    "insane COMMAND --help tells more; insane --version prints the version.",
    "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 no runtime, 4 wrong configuration,",
    "            5 socket or port taken, 6 timed out.",
  ].join("\n")}\n`;
}

/** One line on standard error: code, what happened, what to do; with --json one object. */
function report(error: unknown, json: boolean): void {
  const message = error instanceof Error ? error.message : String(error);
  if (json) {
    const code = error instanceof InsaneError ? error.code : error instanceof UsageError ? "EUSAGE" : "EINTERNAL";
    const details = error instanceof InsaneError ? error.details : {};
    process.stderr.write(`${JSON.stringify({ error: { code, message, details } })}\n`);
  } else if (error instanceof UsageError) {
    const more = error.command === "" ? "insane --help" : `insane ${error.command} --help`;
    process.stderr.write(`insane: ${message} (${more} tells more)\n`);
  } else if (error instanceof InsaneError) {
    process.stderr.write(`insane: ${error.code}: ${message}\n`);
  } else {
    process.stderr.write(`insane: EINTERNAL: ${message}\n`);
    if (error instanceof Error && process.env["INSANE_TRACE"]) process.stderr.write(`${error.stack}\n`);
  }
}
