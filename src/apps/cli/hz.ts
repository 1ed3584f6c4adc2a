// `insane hz`: how often the messages of each topic come, and how evenly.
import { type CommandSpec, type Parsed, SOCKET } from "./arguments.ts";
import { EXIT } from "./exit.ts";
import { openTopics, topicOf } from "./lunar.ts";
import { interruption } from "./quality.ts";
import { print, printJson, short, table } from "./render.ts";

const spec = {
  name: "hz",
  summary: "Measures how often messages of topics come, and how evenly.",
  positionals: "TOPIC",
  minimum: 1,
  maximum: 1,
  options: {
    ...SOCKET,
    interval: {
      kind: "number",
      value: "SECONDS",
      short: "i",
      minimum: 0.1,
      maximum: 3600,
      fraction: true,
      description: "time between two lines (1)",
    },
    count: {
      kind: "number",
      value: "N",
      short: "n",
      minimum: 1,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "end after so many lines; default: until interrupted",
    },
  },
  details:
    "A pattern: + is one level, # all that follow, each topic on a line of its own. Gaps are between two emits, by the publisher's clock.",
} as const satisfies CommandSpec;

/** What came of one topic since the last line. */
class Tally {
  messages = 0;
  bytes = 0;
  shortest = Number.POSITIVE_INFINITY;
  longest = 0;
  private before: number | null = null;
  add(bytes: number, at: number): void {
    this.messages++;
    this.bytes += bytes;
    if (this.before !== null) {
      const gap = at - this.before;
      this.shortest = Math.min(this.shortest, gap);
      this.longest = Math.max(this.longest, gap);
    }
    this.before = at;
  }
  reset(): void {
    this.messages = 0;
    this.bytes = 0;
    this.shortest = Number.POSITIVE_INFINITY;
    this.longest = 0;
  }
}

async function main({ values, positionals }: Parsed<typeof spec.options>): Promise<number> {
  const pattern = topicOf(positionals[0] ?? "", spec.name, true);
  const signal = interruption();
  await using lunar = await openTopics(values, spec.name);
  const tallies = new Map<string, Tally>();
  await using _subscription = await lunar.subscribe(pattern, (message) => {
    const tally = tallies.get(message.topic) ?? new Tally();
    tallies.set(message.topic, tally);
    tally.add(message.length, message.emitTime);
  });
  process.stderr.write(values.json ? '{"ready":true}\n' : `insane: measuring ${pattern}\n`);
  const { interval = 1, count = Number.POSITIVE_INFINITY } = values;
  let at = performance.now();
  for (let line = 0; line < count && !signal.aborted; line++) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, interval * 1000);
      const over = (): void => {
        clearTimeout(timer);
        resolve();
      };
      signal.addEventListener("abort", over, { once: true });
    });
    const seconds = (performance.now() - at) / 1000;
    at = performance.now();
    show(tallies, seconds, values.json);
  }
  return EXIT.OK;
}

function show(tallies: ReadonlyMap<string, Tally>, seconds: number, json: boolean): void {
  const rows = [...tallies].map(([topic, tally]) => {
    const { messages, bytes, shortest, longest } = tally;
    tally.reset();
    const gaps = messages > 1 ? { shortestGapMs: shortest, longestGapMs: longest } : {};
    return { topic, hz: messages / seconds, bytesPerSecond: bytes / seconds, ...gaps };
  });
  if (json) for (const row of rows) printJson(row, 0);
  else if (rows.length === 0) print("nothing yet");
  else {
    const gap = (ms: number | undefined): string => (ms === undefined ? "-" : `${ms.toFixed(3)} ms`);
    const cells = rows.map(({ topic, hz, bytesPerSecond, shortestGapMs, longestGapMs }) => [
      topic,
      short(hz),
      `${short(bytesPerSecond)}B/s`,
      gap(shortestGapMs),
      gap(longestGapMs),
    ]);
    print(...table(["topic", "hz", "bytes", "shortest gap", "longest gap"], cells));
  }
}

export const command = { spec, main };
