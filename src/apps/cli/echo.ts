// `insane echo`: the messages of topics for somebody who looks: topic, how long each was under way, and what it says, values
// of typed topics as JSON. `insane sub` prints payloads only, for pipes.
import { type CommandSpec, type Parsed, SOCKET } from "./arguments.ts";
import { EXIT } from "./exit.ts";
import { openTopics, topicOf } from "./lunar.ts";
import { fields, messagePackOf, shown } from "./payload.ts";
import { interruption } from "./quality.ts";
import { paint, print, printJson } from "./render.ts";

const spec = {
  name: "echo",
  summary: "Shows the messages of topics with their latency and values.",
  positionals: "TOPIC",
  minimum: 1,
  maximum: 1,
  options: {
    ...SOCKET,
    count: {
      kind: "number",
      value: "N",
      short: "n",
      minimum: 1,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "end after so many messages; default: until interrupted",
    },
    size: {
      kind: "number",
      value: "BYTES",
      minimum: 0,
      maximum: 134_217_728,
      description: "show at most so many bytes of each message (256)",
    },
    last: { kind: "flag", description: "begin with the last message of publishers that keep it" },
  },
  details:
    "A pattern: + is one level, # all that follow. The latency is from emit to arrival, between hosts by their clocks. It holds nobody up: what it cannot show in time is dropped.",
} as const satisfies CommandSpec;

async function main({ values, positionals }: Parsed<typeof spec.options>): Promise<number> {
  const pattern = topicOf(positionals[0] ?? "", spec.name, true);
  const signal = interruption();
  const { size = 256, count = Number.POSITIVE_INFINITY, last } = values;
  await using lunar = await openTopics(values, spec.name);
  const done = Promise.withResolvers<void>();
  let seen = 0;
  await using _subscription = await lunar.subscribe(pattern, { last }, (message) => {
    if (++seen > count) return;
    const { topic, length } = message;
    const latencyUs = Math.round((message.receiveTime - message.emitTime) * 1000);
    const bytes = message.copy();
    const value = messagePackOf(bytes);
    if (values.json) {
      const content = value === undefined ? fields(bytes, size) : { value };
      printJson({ topic, length, latencyUs, emitTime: message.emitTime, ...content }, 0);
    } else {
      const content = value === undefined ? shown(bytes, size) : JSON.stringify(value).slice(0, size);
      print(`${paint("bold", topic)}  ${latencyUs} us  ${length} B  ${content}`);
    }
    if (seen === count) done.resolve();
  });
  process.stderr.write(values.json ? '{"ready":true}\n' : `insane: listening on ${pattern}\n`);
  signal.addEventListener("abort", () => done.resolve(), { once: true });
  await done.promise;
  return EXIT.OK;
}

export const command = { spec, main };
