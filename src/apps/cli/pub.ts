// `insane pub`: messages from the command line, from standard input line by line, or of a given size.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import type { Source } from "../../index.ts";
import { InsaneError } from "../../protocol/codes.ts";
import type { CommandSpec, Parsed } from "./arguments.ts";
import { EXIT, UsageError } from "./exit.ts";
import { channelOf, interruption, openStream, QUALITY } from "./quality.ts";
import { printJson } from "./render.ts";

const spec = {
  name: "pub",
  summary: "Sends messages on a channel.",
  positionals: "CHANNEL [TEXT|-]",
  minimum: 1,
  maximum: 2,
  options: {
    ...QUALITY,
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
  details: 'TEXT is one message; "-" reads standard input, one message a line. Nobody listening is exit code 6.',
} as const satisfies CommandSpec;

/** How long messages under way may take to come home before we leave. */
const SETTLE_MS = 5000;

async function main({ values, positionals }: Parsed<typeof spec.options>): Promise<number> {
  const channel = channelOf(positionals[0], spec.name);
  const text = positionals[1];
  if (text !== undefined && values.size !== undefined)
    throw new UsageError("TEXT and --size exclude each other", spec.name);
  if (text === undefined && values.size === undefined && process.stdin.isTTY) {
    throw new UsageError('say what to send: TEXT, "-" for standard input, or --size BYTES', spec.name);
  }
  const signal = interruption();
  const { session, stream } = await openStream(values, spec.name);
  try {
    const source = await stream.createSource(channel);
    if ((values.wait ?? 2) > 0 && !(await someoneListens(source, (values.wait ?? 2) * 1000, signal))) {
      throw new InsaneError(
        "ETIMEDOUT",
        `Nobody listens on channel ${channel} of stream "${stream.name}". Start \`insane sub ${channel}\` with the same quality, or say --wait 0 to send all the same.`,
        { channel, stream: stream.name },
      );
    }
    const lines = text === "-" || (text === undefined && values.size === undefined);
    const messages = lines
      ? createInterface({ input: process.stdin, signal })
      : repeat(values.size === undefined ? text! : pattern(values.size), values.count ?? 1);
    const sent = await sendAll(source, messages, values.rate, signal);
    const stats = await source.settled({ signal: AbortSignal.timeout(SETTLE_MS) }).catch(() => source.stats);
    if (values.json)
      printJson({ channel, stream: stream.name, datapath: stream.binding.datapath, ...sent, ...stats }, 0);
    else if (sent.messages !== 1)
      process.stderr.write(`insane: sent ${sent.messages} messages, ${sent.bytes} bytes; consumed ${stats.consumed}\n`);
    return EXIT.OK;
  } finally {
    await session.close();
  }
}

async function someoneListens(source: Source, ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await source.matched(1, { signal: AbortSignal.any([signal, AbortSignal.timeout(ms)]) });
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
  source: Source,
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
    await send(source, payload, signal);
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
