// npm run bench: names, measures and compares. Standard output is a table for people or, with --json, one JSON object
// a line and nothing else; progress goes to standard error. Everything made for a run is removed, also on Ctrl-C.
import { parseArgs } from "node:util";
import { rateDpdk, rttDpdk } from "./families/dpdk.ts";
import { fanout } from "./families/fanout.ts";
import { gates } from "./families/gates.ts";
import { growth } from "./families/growth.ts";
import { hotpath } from "./families/hotpath.ts";
import { idle } from "./families/idle.ts";
import { largeUdp } from "./families/large-udp.ts";
import { lunarMom } from "./families/lunar-mom.ts";
import { lunarStream } from "./families/lunar-stream.ts";
import { rateLocal } from "./families/rate-local.ts";
import { rateUdp } from "./families/rate-udp.ts";
import { rttRdma } from "./families/rdma.ts";
import { rttLocal } from "./families/rtt-local.ts";
import { rttUdp } from "./families/rtt-udp.ts";
import { threads } from "./families/threads.ts";
import { rateXdp, rttXdp } from "./families/xdp.ts";
import type { Benchmark, Options, Stage } from "./runner/benchmark.ts";
import { installCleanup } from "./runner/cleanup.ts";
import { jsonLine, type Line } from "./runner/figures.ts";
import { runBenchmark } from "./runner/rounds.ts";
import { table } from "./runner/table.ts";

const BENCHMARKS: readonly Benchmark[] = [
  rttUdp,
  rateUdp,
  largeUdp,
  rttXdp,
  rateXdp,
  rttDpdk,
  rateDpdk,
  rttRdma,
  rttLocal,
  rateLocal,
  idle,
  lunarMom,
  fanout,
  lunarStream,
  growth,
  threads,
  gates,
  hotpath,
];

const HELP = `usage: npm run bench -- list | [NAMES] [OPTIONS]

Measures INSANE side by side with its peers. Without NAMES all benchmarks run.

  --json          one JSON object a line: figures, skipped systems, at the end the ratios
  --seconds N     measured seconds a point (default 3)
  --repeat K      interleaved rounds A B A B ..., medians reported (default 3)
  --rps           each side's receive work on its own core, for all systems alike
  --mtu N         of the link between the hosts (default 9000)
  --payloads LIST only these payloads, comma-separated: bytes, or of lunar-stream hd, fullhd, 2k, 4k, 8k
  --systems LIST  only these systems, comma-separated, "insane" or "insane:inline"
  --help          this text

Exit codes: 0 measured, 1 something could not be measured that should have been, 2 wrong arguments.
`;

class UsageError extends Error {}

const list = (text: string | undefined): string[] | undefined => text?.split(",").map((item) => item.trim());

function positive(text: string | undefined, name: string, whole: boolean, most = 3600): number {
  const value = text === undefined ? 3 : Number(text);
  if (!(value > 0) || value > most || (whole && !Number.isInteger(value)))
    throw new UsageError(`--${name} is "${text}", must be a ${whole ? "whole " : ""}number above 0, at most ${most}`);
  return value;
}

function mtuOf(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 576 || value > 65535)
    throw new UsageError(`--mtu is "${text}", must be a whole number of bytes from 576 to 65535`);
  return value;
}

function readArguments(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        json: { type: "boolean", default: false },
        seconds: { type: "string" },
        repeat: { type: "string" },
        rps: { type: "boolean", default: false },
        mtu: { type: "string" },
        payloads: { type: "string" },
        systems: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function chosen(names: readonly string[]): Benchmark[] {
  const known = BENCHMARKS.map((benchmark) => benchmark.name);
  for (const name of names)
    if (!known.includes(name)) throw new UsageError(`there is no benchmark "${name}"; there are: ${known.join(", ")}`);
  return BENCHMARKS.filter((benchmark) => !names.length || names.includes(benchmark.name));
}

async function main(): Promise<number> {
  const { values, positionals } = readArguments(process.argv.slice(2));
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (positionals[0] === "list") {
    for (const { name, summary } of BENCHMARKS)
      console.log(values.json ? JSON.stringify({ bench: name, summary }) : `${name.padEnd(12)}${summary}`);
    return 0;
  }
  const benchmarks = chosen(positionals);
  const options: Options = {
    seconds: positive(values.seconds, "seconds", false),
    repeat: positive(values.repeat, "repeat", true),
    rps: values.rps,
    ...(values.mtu === undefined ? {} : { mtu: mtuOf(values.mtu) }),
  };
  const systems = list(values.systems);
  const named: Record<string, number> = Object.assign({}, ...benchmarks.map((benchmark) => benchmark.payloadNames));
  const sizes = list(values.payloads)?.map((text) => named[text] ?? positive(text, "payloads", true, 2 ** 27));
  installCleanup();
  const lastLines: Line[] = [];
  let allWell = true;
  for (const benchmark of benchmarks) {
    const payloads = benchmark.payloads.filter((bytes) => bytes === 0 || !sizes || sizes.includes(bytes));
    if (!payloads.length)
      throw new UsageError(
        `${benchmark.name} measures ${benchmark.payloads.join(", ")} bytes, none of those asked for`,
      );
    let stage: Stage;
    try {
      stage = await benchmark.open(options);
    } catch (error) {
      const skipped = error instanceof Error ? error.message : String(error);
      if (values.json) console.log(JSON.stringify({ bench: benchmark.name, skipped }));
      else console.log(`${benchmark.name}: skipped: ${skipped}\n`);
      continue;
    }
    try {
      if (systems)
        stage.systems = stage.systems.filter(
          ({ system, mode }) => systems.includes(system) || systems.includes(`${system}:${mode}`),
        );
      const lines: Line[] = [];
      const well = await runBenchmark(benchmark, stage, options, payloads, {
        line(line) {
          lines.push(line);
          if ("ratio" in line) lastLines.push(line);
          else if (values.json) console.log(jsonLine(line));
        },
        progress: (text) => console.error(text),
      });
      allWell = well && allWell;
      if (!values.json) console.log(table(benchmark, stage, lines));
    } finally {
      stage.close();
    }
  }
  if (values.json) for (const line of lastLines) console.log(jsonLine(line));
  return allWell ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\nnpm run bench -- --help says more` : error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
