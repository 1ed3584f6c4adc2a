// Command lines over node:util parseArgs: what a command takes is data, from which parsing, checking and help follow.
// (effect/cli was tried: it costs 160 ms before the first line of a command that lives 100.)
import { parseArgs } from "node:util";
import { UsageError } from "./exit.ts";

interface OptionBase {
  readonly description: string;
  readonly short?: string;
}
export type Option =
  | (OptionBase & { readonly kind: "flag" })
  | (OptionBase & {
      readonly kind: "text";
      readonly value: string;
      readonly many?: boolean;
      readonly among?: ReadonlyArray<string>;
    })
  | (OptionBase & {
      readonly kind: "number";
      readonly value: string;
      readonly minimum: number;
      readonly maximum: number;
      readonly fraction?: boolean;
    });
export type Options = Readonly<Record<string, Option>>;

/** What each option becomes: absent ones are undefined, flags false, repeated ones an empty list. */
export type Values<O extends Options> = {
  readonly [K in keyof O]: O[K] extends { kind: "flag" }
    ? boolean
    : O[K] extends { kind: "number" }
      ? number | undefined
      : O[K] extends { many: true }
        ? ReadonlyArray<string>
        : string | undefined;
};

export interface CommandSpec<O extends Options = Options> {
  readonly name: string;
  /** One line. */
  readonly summary: string;
  /** Positional arguments as help shows them: `CHANNEL [TEXT]`. */
  readonly positionals: string;
  readonly minimum: number;
  readonly maximum: number;
  readonly options: O;
  /** More lines for its own help. */
  readonly details?: string;
}

/** Every command understands these. */
export const COMMON = {
  json: { kind: "flag", description: "print JSON instead of text" },
  help: { kind: "flag", short: "h", description: "show this help" },
} as const satisfies Options;

/** The socket of a runtime, for commands that talk to one. */
export const SOCKET = {
  socket: {
    kind: "text",
    value: "PATH",
    description:
      "socket of the runtime (INSANE_SOCKET; else $XDG_RUNTIME_DIR/insane/insane.sock or /run/insane/insane.sock)",
  },
} as const satisfies Options;

export interface Parsed<O extends Options> {
  readonly values: Values<O & typeof COMMON>;
  readonly positionals: ReadonlyArray<string>;
}

/** Throws UsageError, which names the argument and what is allowed. */
export function parseCommand<O extends Options>(spec: CommandSpec<O>, line: ReadonlyArray<string>): Parsed<O> {
  const options: Options = { ...spec.options, ...COMMON };
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({
      args: [...line],
      allowPositionals: true,
      strict: true,
      options: Object.fromEntries(
        Object.entries(options).map(([name, option]) => [
          name,
          {
            type: option.kind === "flag" ? "boolean" : "string",
            multiple: option.kind === "text" && option.many === true,
            ...(option.short === undefined ? {} : { short: option.short }),
          } as const,
        ]),
      ),
    });
  } catch (cause) {
    throw new UsageError(firstSentence((cause as Error).message), spec.name);
  }
  const { positionals } = parsed;
  const values: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(options)) {
    values[name] = read(spec.name, name, option, parsed.values[name]);
  }
  const wanted = spec.positionals || "no arguments";
  if (values["help"] !== true) {
    if (positionals.length < spec.minimum) throw new UsageError(`insane ${spec.name} needs ${wanted}`, spec.name);
    if (positionals.length > spec.maximum) {
      throw new UsageError(
        `insane ${spec.name} takes ${wanted}; "${positionals[spec.maximum]}" is too much`,
        spec.name,
      );
    }
  }
  return { values: values as Values<O & typeof COMMON>, positionals };
}

function read(command: string, name: string, option: Option, given: unknown): unknown {
  if (option.kind === "flag") return given === true;
  if (option.kind === "text") {
    if (option.many) return given ?? [];
    if (given !== undefined && option.among && !option.among.includes(given as string)) {
      throw new UsageError(`--${name} is "${given}"; allowed: ${option.among.join(", ")}`, command);
    }
    return given;
  }
  if (given === undefined) return undefined;
  return toNumber(`--${name}`, given as string, option, command);
}

/** A number within bounds, in full: no "12abc", no "". */
export function toNumber(
  what: string,
  given: string,
  {
    minimum,
    maximum,
    fraction = false,
  }: { readonly minimum: number; readonly maximum: number; readonly fraction?: boolean },
  command: string,
): number {
  const number = /^\d+(\.\d+)?$/.test(given) ? Number(given) : Number.NaN;
  if (!(number >= minimum && number <= maximum) || !(fraction || Number.isInteger(number))) {
    const kind = fraction ? "a number" : "a whole number";
    throw new UsageError(`${what} is "${given}"; allowed: ${kind} from ${minimum} to ${maximum}`, command);
  }
  return number;
}

const firstSentence = (message: string): string => message.split(/\.\s|\n/)[0]?.replace(/\.$/, "") ?? message;

/** The help of one command, in at most 100 columns. */
export function helpOf(spec: CommandSpec): string {
  const lines = [
    `${spec.summary}`,
    "",
    `usage: insane ${spec.name}${spec.positionals ? ` ${spec.positionals}` : ""} [options]`,
    "",
  ];
  if (spec.details) lines.push(...wrap(spec.details, 100), "");
  const options: Options = { ...spec.options, ...COMMON };
  const rows = Object.entries(options).map(([name, option]): [string, string] => {
    const value = option.kind === "flag" ? "" : ` ${option.value}`;
    const short = option.short === undefined ? "" : `-${option.short}, `;
    const among = option.kind === "text" && option.among ? ` (${option.among.join(" | ")})` : "";
    return [`${short}--${name}${value}`, option.description + among];
  });
  lines.push(...columns(rows));
  return `${lines.join("\n")}\n`;
}

/** Two columns, the second wrapped. */
export function columns(rows: ReadonlyArray<readonly [string, string]>): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.flatMap(([left, right]) =>
    wrap(right, 100 - width - 4).map((line, i) => `  ${(i === 0 ? left : "").padEnd(width)}  ${line}`),
  );
}

/** Breaks at spaces; line breaks in the text stay. */
export function wrap(text: string, width: number): string[] {
  return text.split("\n").flatMap((paragraph) => {
    const lines: string[] = [];
    let line = "";
    for (const word of paragraph.split(" ")) {
      if (line !== "" && line.length + 1 + word.length > width) {
        lines.push(line);
        line = word;
      } else line = line === "" ? word : `${line} ${word}`;
    }
    return [...lines, line];
  });
}
