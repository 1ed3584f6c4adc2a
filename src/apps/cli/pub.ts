// `insane pub`: messages on a topic or a channel, from the command line, from standard input line by line, or of a given size.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import type { Source } from "../../index.ts";
import { InsaneError } from "../../protocol/codes.ts";
import type { CommandSpec, Parsed } from "./arguments.ts";
import { EXIT, UsageError } from "./exit.ts";
import { DELIVERY, isTopic, openTopics, topicOf, topicOptions } from "./lunar.ts";
import { channelOf, interruption, openStream, QUALITY } from "./quality.ts";
import { printJson } from "./render.ts";

const spec = {
  name: "pub",
  summary: "Sends messages on a topic, or on a channel of a stream.",
  positionals: "TOPIC|CHANNEL [TEXT|-]",
  minimum: 1,
  maximum: 2,
  options: {
    ...QUALITY,
    ...DELIVERY,
    count: {
      kind: "number",
      value: "N",
      short: "n",
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "how many messages (1); 0: until interrupted",
    },
    rate: {
      kind: "number",
      value: "N",
      short: "r",
      minimum: 0.001,
      maximum: 1e9,
      fraction: true,
      description: "messages a second; default: as fast as the sinks take them",
    },
    size: {
      kind: "number",
      value: "BYTES",
      minimum: 1,
      maximum: 134_217_728,
      description: "messages of so many bytes instead of TEXT",
    },
    wait: {
      kind: "number",
      value: "SECONDS",
      minimum: 0,
      maximum: 86_400,
      fraction: true,
      description: "how long to wait for a sink (2); 0: do not",
    },
  },
  details:
    'A whole number is a channel, everything else a topic. TEXT is one message; "-" reads standard input, one message a line. Nobody listening is exit code 6.',
} as const satisfies CommandSpec;

/** How long messages under way may take to come home before we leave. */
const SETTLE_MS = 5000;

async function main({ values, positionals }: Parsed<typeof spec.options>): Promise<number> {
  const topic = isTopic(positionals[0]) ? topicOf(positionals[0], spec.name, false) : null;
  const channel = topic === null ? channelOf(positionals[0], spec.name) : null;
  const text = positionals[1];
  if (text !== undefined && values.size !== undefined)
    throw new UsageError("TEXT and --size exclude each other", spec.name);
  if (text === undefined && values.size === undefined && process.stdin.isTTY) {
    throw new UsageError('say what to send: TEXT, "-" for standard input, or --size BYTES', spec.name);
  }
  const signal = interruption();
  const to = channel === null ? await openTopic(topic!, values) : await openChannel(channel, values);
  try {
    const { source } = to;
    if ((values.wait ?? 2) > 0 && !(await someoneListens(to, (values.wait ?? 2) * 1000, signal))) {
      throw new InsaneError(
        "ETIMEDOUT",
        `Nobody listens on ${to.what}. Start \`insane sub ${positionals[0]}\`${topic === null ? " with the same quality" : ""}, or say --wait 0 to send all the same.`,
        to.names,
      );
    }
    const lines = text === "-" || (text === undefined && values.size === undefined);
    const messages = lines
      ? createInterface({ input: process.stdin, signal })
      : repeat(values.size === undefined ? text! : pattern(values.size), values.count ?? 1);
    const sent = await sendAll(to, messages, values.rate, signal);
    await to.settled(AbortSignal.timeout(SETTLE_MS)).catch(() => {});
    const { stats } = source;
    if (values.json) printJson({ ...to.names, ...sent, ...stats }, 0);
    else if (sent.messages !== 1)
      process.stderr.write(
        `insane: sent ${sent.messages} messages, ${sent.bytes} bytes; its sinks consumed ${stats.consumed} in all\n`,
      );
    return EXIT.OK;
  } finally {
    await to.close();
  }
}

/** Where messages go: a topic's publisher or a channel's source. */
interface Target {
  readonly source: Source;
  readonly what: string;
  readonly names: Readonly<Record<string, unknown>>;
  matched(options: { readonly signal: AbortSignal }): Promise<void>;
  send(payload: Uint8Array, signal: AbortSignal): Promise<unknown>;
  settled(signal: AbortSignal): Promise<unknown>;
  close(): Promise<void>;
}
type Given = Parsed<typeof spec.options>["values"];

async function openChannel(channel: number, values: Given): Promise<Target> {
  const { session, stream } = await openStream(values, spec.name);
  try {
    const source = await stream.createSource(channel);
    return {
      source,
      what: `channel ${channel} of stream "${stream.name}"`,
      names: { channel, stream: stream.name, datapath: stream.binding.datapath },
      matched: (options) => source.matched(1, options),
      send: (payload, signal) => send(source, payload, signal),
      settled: (signal) => source.settled({ signal }),
      close: () => session.close(),
    };
  } catch (error) {
    await session.close();
    throw error;
  }
}

async function openTopic(topic: string, values: Given): Promise<Target> {
  const options = topicOptions(values, spec.name);
  const lunar = await openTopics(values, spec.name);
  try {
    const publisher = await lunar.publisher(topic, options);
    return {
      source: publisher.source,
      what: `topic ${topic}`,
      names: { topic, channel: publisher.source.channel },
      matched: (waiting) => publisher.matched(1, waiting),
      send: (payload, signal) => publisher.send(payload, { signal }),
      settled: (signal) => publisher.settled({ signal }),
      close: () => lunar.close(),
    };
  } catch (error) {
    await lunar.close();
    throw error;
  }
}

async function someoneListens({ source, matched }: Target, ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await matched({ signal: AbortSignal.any([signal, AbortSignal.timeout(ms)]) });
    return true;
  } catch (error) {
    if (source.consumers > 0 || signal.aborted) return true;
    if (error instanceof InsaneError) throw error;
    return false;
  }
}

function* repeat(message: string | Uint8Array, count: number): Generator<string | Uint8Array> {
  for (let i = 0; count === 0 || i < count; i++) yield message;
}

const pattern = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => i & 0xff);

async function sendAll(
  to: Target,
  messages: Iterable<string | Uint8Array> | AsyncIterable<string>,
  rate: number | undefined,
  signal: AbortSignal,
): Promise<{ readonly messages: number; readonly bytes: number; readonly seconds: number }> {
  const encoder = new TextEncoder();
  const begun = performance.now();
  let sent = 0;
  let bytes = 0;
  const seconds = (): number => (performance.now() - begun) / 1000;
  const take = async (message: string | Uint8Array): Promise<boolean> => {
    if (signal.aborted) return false;
    const payload = typeof message === "string" ? encoder.encode(message) : message;
    const ahead = rate === undefined ? 0 : sent / rate - seconds();
    if (ahead > 0) await sleep(ahead * 1000, undefined, { signal }).catch(() => {});
    if (signal.aborted) return false;
    await to.send(payload, signal);
    sent++;
    bytes += payload.length;
    return true;
  };
  try {
    // An iterator of either kind; awaiting every element of a plain one would halve the rate, and does not matter here.
    for await (const message of messages) if (!(await take(message))) break;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  return { messages: sent, bytes, seconds: seconds() };
}

/** Waits while there is no slot or no credit. */
async function send(source: Source, payload: Uint8Array, signal: AbortSignal): Promise<void> {
  for (;;) {
    const buffer = source.tryGetBuffer(Math.max(1, payload.length));
    if (buffer === null) {
      await source.ready({ signal });
      continue;
    }
    buffer.memory.set(payload, buffer.offset);
    buffer.length = payload.length;
    while (source.tryEmit(buffer) === 0) await source.ready({ signal });
    return;
  }
}

export const command = { spec, main };
