// `insane sub`: prints messages as they arrive, or how many a second.
import type { Message } from "../../index.ts";
import { InsaneError } from "../../protocol/codes.ts";
import type { CommandSpec, Parsed } from "./arguments.ts";
import { EXIT } from "./exit.ts";
import { channelOf, interruption, openStream, QUALITY } from "./quality.ts";
import { print, printJson, short } from "./render.ts";

const spec = {
  name: "sub",
  summary: "Prints the messages of a channel.",
  positionals: "CHANNEL",
  minimum: 1,
  maximum: 1,
  options: {
    ...QUALITY,
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
      description: "give up after so long (exit code 6)",
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
    "Text is printed as it is, one message a line; anything else as hexadecimal. With --json each message is one object a line.",
} as const satisfies CommandSpec;

async function main({ values, positionals }: Parsed<typeof spec.options>): Promise<number> {
  const channel = channelOf(positionals[0], spec.name);
  const interrupted = interruption();
  const timeout = values.timeout === undefined ? null : AbortSignal.timeout(values.timeout * 1000);
  const signal = timeout === null ? interrupted : AbortSignal.any([interrupted, timeout]);
  const { session, stream } = await openStream(values, spec.name);
  try {
    const sink = await stream.createSink(
      channel,
      values.keep === undefined ? {} : { policy: { kind: "keep-last", depth: values.keep } },
    );
    let lost = 0;
    sink.on("lost", (event) => {
      lost += event.count;
      process.stderr.write(
        `insane: ${event.count} messages of source ${event.source} did not arrive (${event.reason})\n`,
      );
    });
    process.stderr.write(
      values.json
        ? `${JSON.stringify({ ready: true, channel, stream: stream.name, datapath: stream.binding.datapath })}\n`
        : `insane: listening on channel ${channel} of stream "${stream.name}" (${stream.binding.datapath ?? "this host only"})\n`,
    );
    const show = values.json ? json(values.size ?? 1024) : text(values.size ?? 1024);
    const meter = values.rate ? new Meter(values.json) : null;
    let received = 0;
    const wanted = values.count || Number.POSITIVE_INFINITY;
    try {
      while (received < wanted) {
        const message = sink.tryConsume() ?? (await sink.consume({ signal }));
        received++;
        if (meter === null) show(message);
        else meter.count(message.length);
        message.release();
        if (signal.aborted) break;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
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
  } finally {
    await session.close();
  }
}

const strict = new TextDecoder("utf-8", { fatal: true });

/** The payload as text, or null when it is none that a terminal should see. */
function textOf(bytes: Uint8Array): string | null {
  try {
    const decoded = strict.decode(bytes);
    return /[\p{Cc}]/u.test(decoded.replaceAll(/[\n\t]/g, "")) ? null : decoded;
  } catch {
    return null;
  }
}

const hex = (bytes: Uint8Array): string =>
  Buffer.from(bytes)
    .toString("hex")
    .replaceAll(/(..)(?=.)/g, "$1 ");

function text(size: number): (message: Message) => void {
  return (message) => {
    const bytes = message.copy().subarray(0, size);
    const cut = message.length > size ? ` ... (${message.length} bytes)` : "";
    print(
      (textOf(bytes) ?? hex(bytes.subarray(0, 32)) + (bytes.length > 32 ? ` ... (${message.length} bytes)` : "")) + cut,
    );
  };
}

function json(size: number): (message: Message) => void {
  return (message) => {
    const { channel, source, sequence, emitTime, receiveTime, length } = message;
    const bytes = message.copy().subarray(0, size);
    const content = textOf(bytes);
    const payload = content === null ? { base64: Buffer.from(bytes).toString("base64") } : { text: content };
    printJson({ channel, source, sequence, emitTime, receiveTime, length, ...payload }, 0);
  };
}

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
