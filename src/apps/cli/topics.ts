// `insane topics`: which topics there are, on all hosts, and how each travels; once, or each change.
import type { Topic } from "../lunar-mom/lunar.ts";
import { matches } from "../lunar-mom/topics.ts";
import { type CommandSpec, type Parsed, SOCKET } from "./arguments.ts";
import { EXIT } from "./exit.ts";
import { openTopics, topicOf } from "./lunar.ts";
import { interruption } from "./quality.ts";
import { print, printJson, table } from "./render.ts";

const spec = {
  name: "topics",
  summary: "Lists the topics that somebody publishes or subscribes to, on all hosts.",
  positionals: "[PATTERN]",
  minimum: 0,
  maximum: 1,
  options: {
    ...SOCKET,
    all: { kind: "flag", short: "a", description: "with the topics that Lunar makes for itself ($...)" },
    watch: { kind: "flag", short: "w", description: "then print each change until interrupted" },
  },
  details: "Publishers and subscribers of another host count as one.",
} as const satisfies CommandSpec;

async function main({ values, positionals }: Parsed<typeof spec.options>): Promise<number> {
  const pattern = topicOf(positionals[0] ?? "#", spec.name, true);
  await using lunar = await openTopics(values, spec.name);
  const topics = await lunar.topics(pattern, values.all);
  if (values.json && !values.watch) printJson(topics);
  else if (values.json) for (const topic of topics) printJson(topic, 0);
  else if (topics.length > 0 || values.watch) print(...table(HEADING, topics.map(row)));
  else print("no topics: try `insane sub greetings` and `insane pub greetings hello`");
  if (!values.watch) return EXIT.OK;
  const signal = interruption();
  lunar.on("topics", (changed) => {
    for (const topic of changed) {
      if (!(topic.topic.startsWith("$") ? values.all : matches(pattern, topic.topic))) continue;
      if (values.json) printJson(topic, 0);
      else print(row(topic).join("  "));
    }
  });
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  return EXIT.OK;
}

const HEADING = ["topic", "publishers", "subscribers", "channel", "delivery", "quality"];

function row({ topic, publishers, subscribers, channel, kept, qos }: Topic): string[] {
  const { acceleration, consumption, timeSensitivity, maxMessage } = qos;
  const quality = `${acceleration}/${consumption}/${timeSensitivity}/${maxMessage}`;
  return [topic, String(publishers), String(subscribers), String(channel), kept ? "kept" : "best-effort", quality];
}

export const command = { spec, main };
