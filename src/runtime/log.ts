// The runtime's log: pino with stable codes, one JSON object a line on standard error, or readable lines when asked for.
// Warnings that travel to applications go through here as well. Never called per message; never waits for its reader; what
// is said again and again is summed up.
import { styleText } from "node:util";
import { type DestinationStream, pino } from "pino";
import { type Clock, SYSTEM_CLOCK } from "../actors/clock.ts";
import { type ErrorCode, WARNING_CODES, type Warning } from "../protocol/codes.ts";
import type { RuntimeConfig } from "./api.ts";
import { standardError } from "./log-destination.ts";
import { Repeats } from "./repeats.ts";

export type Fields = Readonly<Record<string, unknown>>;

export interface Log {
  /** Something failed; `code` is one of protocol/codes.ts. */
  error(code: ErrorCode, message: string, fields?: Fields): void;
  /** Something is not as it was asked for: code, what happened, what to do about it. */
  warn(warning: Warning, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  debug(message: string, fields?: Fields): void;
  /** The same log, with fields that every line of it has. */
  child(fields: Fields): Log;
}

/** Writes to standard error unless told otherwise. At the end of the process, also by a crash, what is kept is written. */
export function createLog(
  options: RuntimeConfig["log"],
  fields: Fields = {},
  to?: DestinationStream,
  clock: Clock = SYSTEM_CLOCK,
): Log {
  const sink = to ?? standardError();
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    options.pretty ? { write: (line) => sink.write(readable(line)) } : sink,
  );
  const log = wrap(logger.child(fields), to === undefined ? said() : new Repeats(clock));
  if (to === undefined) {
    standardError().onDropped = (lines) =>
      log.warn({
        code: WARNING_CODES.LOG_DROPPED,
        message: `${lines} lines of this log are missing: nobody read it for a while.`,
        cure: "Let it be read, or written to a file; say less (log.level).",
      });
  }
  return log;
}

let onStandardError: Repeats | undefined;

/** What was said on standard error, by all runtimes of this process. */
function said(): Repeats {
  if (onStandardError === undefined) {
    const repeats = new Repeats(SYSTEM_CLOCK);
    standardError().onEnd = () => repeats.flush();
    onStandardError = repeats;
  }
  return onStandardError;
}

type Level = "error" | "warn" | "info" | "debug";

/** Kinds of lines are told apart by code, or by message where there is none. */
function wrap(logger: pino.Logger, repeats: Repeats): Log {
  const runtime = String(logger.bindings()["runtime"] ?? "");
  const say = (level: Level, fields: Fields, message: string): void => {
    if (!logger.isLevelEnabled(level)) return;
    const sum = (held: number): void =>
      logger[level]({ ...fields, repeated: held }, `${held} more like this one: ${message}`);
    if (repeats.may(`${runtime} ${level} ${fields["code"] ?? message}`, sum)) logger[level](fields, message);
  };
  return {
    error: (code, message, fields) => say("error", { code, ...fields }, message),
    warn: ({ code, message, cure }, fields) => say("warn", { code, cure, ...fields }, message),
    info: (message, fields) => say("info", fields ?? {}, message),
    debug: (message, fields) => say("debug", fields ?? {}, message),
    child: (fields) => wrap(logger.child(fields), repeats),
  };
}

/** A log that says nothing, for tests and for parts that are used without a runtime. */
export const SILENT: Log = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  child: () => SILENT,
};

const COLOURS = { error: "red", warn: "yellow", info: "green", debug: "gray" } as const;

/** One line of JSON as a person reads it: time, level, code, message, then the fields. */
export function readable(line: string): string {
  const { level, time, msg, code, cure, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const name = String(level);
  const colour = COLOURS[name as keyof typeof COLOURS] ?? "red";
  const parts = [
    String(time).slice(11, 23),
    styleText(colour, name.toUpperCase().padEnd(5), { stream: process.stderr }),
  ];
  if (code !== undefined) parts.push(String(code));
  parts.push(String(msg));
  if (typeof cure === "string" && cure !== "") parts.push(`(${cure})`);
  for (const [key, value] of Object.entries(rest)) {
    parts.push(
      styleText("gray", `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`, {
        stream: process.stderr,
      }),
    );
  }
  return `${parts.join(" ")}\n`;
}
