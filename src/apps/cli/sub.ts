// `insane sub`: prints messages of topics or of a channel as they arrive, or how many a second.
import type { Message } from "../../index.ts";
import { InsaneError } from "../../protocol/codes.ts";
import type { SubscribeOptions } from "../lunar-mom/lunar.ts";
import { isPattern } from "../lunar-mom/topics.ts";
import type { CommandSpec, Parsed } from "./arguments.ts";
import { EXIT } from "./exit.ts";
import { DELIVERY, isTopic, openTopics, topicOf, topicOptions } from "./lunar.ts";
import { fields, shown } from "./payload.ts";
import { channelOf, interruption, openStream, QUALITY } from "./quality.ts";
import { print, printJson, short } from "./render.ts";

const spec = {
  name: "sub",
  summary: "Prints the messages of topics, or of a channel of a stream.",
  positionals: "TOPIC|CHANNEL",
  minimum: 1,
  maximum: 1,
  options: {
    ...QUALITY,
    ...DELIVERY,
    count: {
      kind: "number",
      value: "N",
      short: "n",
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: "end after so many messages; default: until interrupted",
    },
    timeout: {
      kind: "number",
      value: "SECONDS",
      short: "t",
      minimum: 0.001,
      maximum: 86_400,
      fraction: true,
      description: "end after so long; exit code 6 if fewer than --count came",
    },
    rate: { kind: "flag", short: "r", description: "print messages and bytes a second instead of the messages" },
    size: {
      kind: "number",
      value: "BYTES",
      minimum: 0,
      maximum: 134_217_728,
      description: "print at most so many bytes of each message (1024)",
    },
    keep: {
      kind: "number",
      value: "N",
      minimum: 1,
      maximum: 32_768,
      description: "keep only the last N when slow, instead of slowing the source down",
    },
  },
  details:
    "A whole number is a channel, everything else a topic, or a pattern: + is one level, # all that follow; then each message is printed behind its topic. Text is printed as it is, one message a line; anything else as hexadecimal. With --json each message is one object a line.",
} as const satisfies CommandSpec;

async function main({ values, positionals }: Parsed<typeof spec.options>): Promise<number> {
  const interrupted = interruption();
  const timeout = values.timeout === undefined ? null : AbortSignal.timeout(values.timeout * 1000);
  const signal = timeout === null ? interrupted : AbortSignal.any([interrupted, timeout]);
  const wanted = values.count || Number.POSITIVE_INFINITY;
  const size = values.size ?? 1024;
  const meter = values.rate ? new Meter(values.json) : null;
  let received = 0;
  let lost = 0;
  const [name] = positionals;
  try {
    if (isTopic(name)) await listenToTopic(topicOf(name, spec.name, true));
    else await listenToChannel(channelOf(name, spec.name));
  } finally {
    meter?.end();
  }
  if (timeout?.aborted && received < wanted && wanted !== Number.POSITIVE_INFINITY) {
    throw new InsaneError("ETIMEDOUT", `${received} of ${wanted} messages came within ${values.timeout} s.`, {
      received,
      lost,
    });
  }
  return EXIT.OK;

  async function listenToTopic(pattern: string): Promise<void> {
    const { qos, ...how } = topicOptions(values, spec.name);
    const keep = values.keep === undefined ? {} : { depth: values.keep };
    await using lunar = await openTopics(values, spec.name);
    const show = values.json ? json(size, {}) : text(size);
    const over = new AbortController();
    const end = AbortSignal.any([signal, over.signal]);
    await using subscription = await lunar.subscribe(
      pattern,
      { ...qosOr(qos), ...how, ...keep, ...slow() },
      (message) => {
        if (end.aborted) return;
        received++;
        if (meter !== null) meter.count(message.length);
        else show(message, values.json ? message.topic : isPattern(pattern) ? `${message.topic}: ` : "");
        if (received >= wanted) over.abort();
      },
    );
    say({ ready: true, topic: pattern }, `topic ${pattern}`);
    await new Promise<void>((resolve) => {
      if (end.aborted) resolve();
      end.addEventListener("abort", () => resolve(), { once: true });
    });
    lost = subscription.stats.lost;
    if (lost > 0) process.stderr.write(`insane: ${lost} messages did not arrive\n`);
  }

  /** As for channels: unless it is to keep only some, it holds its publishers up. */
  function slow(): SubscribeOptions {
    return { policy: values.keep === undefined ? { kind: "block" } : { kind: "keep-last", depth: values.keep } };
  }

  async function listenToChannel(channel: number): Promise<void> {
    const { session, stream } = await openStream(values, spec.name);
    try {
      const sink = await stream.createSink(
        channel,
        values.keep === undefined ? {} : { policy: { kind: "keep-last", depth: values.keep } },
      );
      sink.on("lost", (event) => {
        lost += event.count;
        process.stderr.write(
          `insane: ${event.count} messages of source ${event.source} did not arrive (${event.reason})\n`,
        );
      });
      const { datapath } = stream.binding;
      const where = `channel ${channel} of stream "${stream.name}" (${datapath ?? "this host only"})`;
      say({ ready: true, channel, stream: stream.name, datapath }, where);
      const show = values.json ? json(size, { channel }) : text(size);
      while (received < wanted) {
        const message = sink.tryConsume() ?? (await sink.consume({ signal }));
        received++;
        if (meter === null) show(message, "");
        else meter.count(message.length);
        message.release();
        if (signal.aborted) break;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      await session.close();
    }
  }

  function say(ready: object, where: string): void {
    process.stderr.write(values.json ? `${JSON.stringify(ready)}\n` : `insane: listening on ${where}\n`);
  }
}

const qosOr = (qos: SubscribeOptions["qos"]): SubscribeOptions => (qos === undefined ? {} : { qos });

type Shown = Pick<Message, "length" | "source" | "sequence" | "emitTime" | "receiveTime" | "copy">;

const text =
  (size: number) =>
  (message: Shown, topic: string): void =>
    print(topic + shown(message.copy(), size));

const json =
  (size: number, names: object) =>
  (message: Shown, topic: string): void => {
    const { source, sequence, emitTime, receiveTime, length } = message;
    const of = topic === "" ? names : { topic };
    printJson({ ...of, source, sequence, emitTime, receiveTime, length, ...fields(message.copy(), size) }, 0);
  };

/** Messages and bytes, told once a second. */
class Meter {
  readonly #json: boolean;
  readonly #timer: NodeJS.Timeout;
  #messages = 0;
  #bytes = 0;
  #at = performance.now();
  constructor(json: boolean) {
    this.#json = json;
    this.#timer = setInterval(() => this.#tell(), 1000);
  }
  count(bytes: number): void {
    this.#messages++;
    this.#bytes += bytes;
  }
  end(): void {
    clearInterval(this.#timer);
    if (this.#messages > 0) this.#tell();
  }
  #tell(): void {
    const now = performance.now();
    const seconds = (now - this.#at) / 1000;
    const rate = { messagesPerSecond: this.#messages / seconds, bytesPerSecond: this.#bytes / seconds };
    if (this.#json) printJson({ time: new Date().toISOString(), ...rate }, 0);
    else print(`${short(rate.messagesPerSecond)} messages/s, ${short(rate.bytesPerSecond)}B/s`);
    this.#at = now;
    this.#messages = 0;
    this.#bytes = 0;
  }
}

export const command = { spec, main };
