// The results of one benchmark as a person reads them: a block a payload, a row a system, insane's figure over
// each peer's, and who spins where. Takes finished lines only; says what was skipped and why.
import type { Benchmark, Stage } from "./benchmark.ts";
import type { Figure, Line, Ratio, Skip } from "./figures.ts";

const number = (value: number): string => {
  const size = Math.abs(value);
  return value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : size >= 0.01 || size === 0 ? 2 : 4);
};

const payloadName = (bytes: number): string => (bytes >= 1 << 20 ? `${bytes / (1 << 20)} MiB` : `${bytes} B`);

function column(rows: string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i === 0 || i === row.length - 1 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}

/** A row's name: what tells its system from the others. */
const nameOf = ({ system, mode, keys = {} }: Figure | Skip): string =>
  [system, mode, ...Object.entries(keys).map(([key, value]) => `${key} ${value}`)].join(" ");

export function table(benchmark: Benchmark, stage: Stage, lines: readonly Line[]): string {
  const figures = lines.filter((line): line is Figure => "metric" in line && "system" in line);
  const skips = lines.filter((line): line is Skip => "skipped" in line);
  const ratios = lines.filter((line): line is Ratio => "ratio" in line);
  const out = [`${benchmark.name}: ${benchmark.summary}`, `  ${stage.conditions}`];
  for (const payload of new Set(figures.map((figure) => figure.payload))) {
    const here = figures.filter((figure) => figure.payload === payload);
    const metrics = [...new Map(here.map((figure) => [figure.metric, figure])).values()];
    const peers = new Set(here.map(nameOf));
    const head = [
      payload ? payloadName(payload) : "system",
      ...metrics.flatMap((m) => (m.p99 === undefined ? [`${m.metric} ${m.unit}`] : [`p50 ${m.unit}`, `p99 ${m.unit}`])),
      "insane/peer",
      "threads",
    ];
    const rows = [...peers].map((name) => {
      const own = here.filter((figure) => nameOf(figure) === name);
      const { system, mode } = own[0] ?? {};
      const ratio = ratios.find(
        (r) =>
          r.payload === payload &&
          (r.peerMode === undefined
            ? r.ratio === `insane/${system}`
            : r.peerMode === mode && r.ratio.endsWith(`/${system}`)),
      );
      return [
        name,
        ...metrics.flatMap((m) => {
          const figure = own.find((f) => f.metric === m.metric);
          const cells = [figure ? number(figure.p50) : "-"];
          if (m.p99 !== undefined) cells.push(figure?.p99 === undefined ? "-" : number(figure.p99));
          return cells;
        }),
        ratio ? `${number(ratio.value)} x` : "",
        own[0]?.threads ?? "",
      ];
    });
    const load = Math.max(...here.map((figure) => figure.load1));
    const [title = "", ...body] = column([head, ...rows]);
    out.push("", `  ${title}   (load ${number(load)})`, ...body.map((row) => `  ${row}`));
  }
  if (skips.length) out.push("");
  for (const skip of skips) {
    const { payload, skipped } = skip;
    out.push(`  skipped ${nameOf(skip)}${payload === undefined ? "" : ` at ${payloadName(payload)}`}: ${skipped}`);
  }
  return `${out.join("\n")}\n`;
}
