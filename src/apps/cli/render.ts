// How `insane` writes for people: tables, colours, sizes and times. 100 columns; no colour when NO_COLOR is set or the
// output is no terminal.
import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** Colour for standard output, if it wants any. */
export const paint = (style: Style, text: string): string => styleText(style, text, { stream: process.stdout });

/** What a terminal shows of a text: styles take no columns. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const bare = (text: string): string => text.replace(/\x1b\[[0-9;]*m/g, "");

/** Aligned columns under a heading; numbers go right. The last column may be as long as it likes. */
export function table(heading: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string[] {
  const widths = heading.map((name, i) => Math.max(name.length, ...rows.map((row) => bare(row[i] ?? "").length)));
  const right = heading.map(
    (_, i) => rows.length > 0 && rows.every((row) => /^[-\d.,%]*( ?[kMG]?i?B?(\/s)?)?$/.test(bare(row[i] ?? ""))),
  );
  const line = (cells: ReadonlyArray<string>, style?: Style): string =>
    cells
      .map((cell, i) => {
        const gap = " ".repeat(Math.max(0, (widths[i] ?? 0) - bare(cell).length));
        const text = style === undefined ? cell : paint(style, cell);
        return right[i] ? gap + text : i === cells.length - 1 ? text : text + gap;
      })
      .join("  ");
  return [line(heading, "bold"), ...rows.map((row) => line(row))];
}

/** 1234567 -> "1.23 M" */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "-";
  for (const [limit, unit] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e4, "k"],
  ] as const) {
    if (value >= limit)
      return `${(value / limit < 1 ? value / 1e3 : value / (unit === "k" ? 1e3 : limit)).toPrecision(3)} ${unit}`;
  }
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}

/** A part, 0 to 1. */
export const percent = (part: number): string => `${(100 * part).toFixed(part < 0.1 ? 1 : 0)} %`;

export function duration(ms: number): string {
  if (ms < 0) return "never";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A state of a machine: final ones and failures catch the eye. */
export function state(name: string): string {
  if (/quarantined|refused|failed|silent|down/.test(name)) return paint("red", name);
  if (/closing|draining|greeting|opening|restarting/.test(name)) return paint("yellow", name);
  return name;
}

export const print = (...lines: ReadonlyArray<string>): void => {
  process.stdout.write(`${lines.join("\n")}\n`);
};

export const printJson = (value: unknown, indent = 2): void => {
  process.stdout.write(`${JSON.stringify(value, null, indent)}\n`);
};
