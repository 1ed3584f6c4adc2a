// The runtime's log: pino with stable codes, one JSON object a line on standard error, or readable lines when asked for.
// Warnings that travel to applications go through here as well. Never called per message.
import { styleText } from "node:util";
import { type DestinationStream, destination, pino } from "pino";
import type { ErrorCode, Warning } from "../protocol/codes.ts";
import type { RuntimeConfig } from "./api.ts";

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

/** Writes to standard error unless told otherwise. Synchronous: the last lines before a crash are the ones that count. */
export function createLog(options: RuntimeConfig["log"], fields: Fields = {}, to?: DestinationStream): Log {
  const sink = to ?? destination({ fd: 2, sync: true });
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    options.pretty ? { write: (line) => sink.write(readable(line)) } : sink,
  );
  return wrap(logger.child(fields));
}

const wrap = (logger: pino.Logger): Log => ({
  error: (code, message, fields) => logger.error({ code, ...fields }, message),
  warn: ({ code, message, cure }, fields) => logger.warn({ code, cure, ...fields }, message),
  info: (message, fields) => logger.info(fields ?? {}, message),
  debug: (message, fields) => logger.debug(fields ?? {}, message),
  child: (fields) => wrap(logger.child(fields)),
});

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
