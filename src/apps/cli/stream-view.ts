// `insane stream view`: receives a stream and shows it as figures, PNG files, or in browsers.
import { connect } from "../../index.ts";
import {
  type BrowserSink,
  type Client,
  connect as connectTo,
  type Frame,
  openBrowserSink,
  Statistics,
  savePng,
} from "../lunar-streaming/index.ts";
import { EXIT, UsageError } from "./exit.ts";
import { interruption } from "./quality.ts";
import { printJson } from "./render.ts";
import type { StreamParsed } from "./stream.ts";

const INTERVAL_MS = 1000;

export async function view({ values, positionals }: StreamParsed): Promise<number> {
  const name = positionals[1] as string;
  const place = values.web === undefined ? null : placeOf(values.web);
  const signal = interruption();
  const session = await connect({
    name: `insane stream view ${name} (${process.pid})`,
    ...(values.socket === undefined ? {} : { socket: values.socket }),
  });
  let client: Client | undefined;
  let browsers: BrowserSink | undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    client = await connectTo(session, {
      name,
      ...(values.keep === undefined ? {} : { keep: values.keep }),
      ...(values.timeout === undefined ? {} : { timeoutMs: values.timeout * 1000 }),
    });
    const from = client;
    const { width, height, pixels, encoding } = from.server;
    if (place !== null) {
      browsers = await openBrowserSink({ ...place, title: name });
      process.stderr.write(
        values.json ? `${JSON.stringify({ url: browsers.url })}\n` : `insane: open ${browsers.url}\n`,
      );
    }
    const ready = { ready: true, name, width, height, pixels, encoding };
    process.stderr.write(
      values.json ? `${JSON.stringify(ready)}\n` : `insane: "${name}" is ${width} x ${height} ${pixels}, ${encoding}\n`,
    );
    const statistics = new Statistics(performance.now());
    const tell = (): void => {
      const now = statistics.interval(performance.now(), from.stats);
      if (values.json) printJson(now, 0);
      else process.stdout.write(`${lineOf(now)}\n`);
    };
    timer = setInterval(tell, INTERVAL_MS);
    from.on("invalid", ({ code, message }) => void process.stderr.write(`insane: ${code}: ${message}\n`));
    let seen = 0;
    const enough = new AbortController();
    const each = async (frame: Frame): Promise<void> => {
      statistics.add(frame);
      seen++;
      if (values.png !== undefined && (seen - 1) % (values.every ?? 1) === 0) await savePng(frame, values.png);
      if (seen === values.count) enough.abort();
    };
    const stop = AbortSignal.any([signal, enough.signal]);
    // Whatever shows them, frames end when the server does, when there were enough, or at an interruption.
    stop.addEventListener("abort", () => void from.close());
    try {
      if (browsers !== undefined) await browsers.show(name, from, each);
      else {
        for await (const frame of from) {
          await each(frame);
          if (stop.aborted) break;
        }
      }
    } catch (error) {
      if (!stop.aborted) throw error;
    }
    clearInterval(timer);
    if (statistics.pending > 0) tell();
    return EXIT.OK;
  } finally {
    clearInterval(timer);
    await browsers?.close();
    await client?.close();
    await session.close();
  }
}

function lineOf({
  fps,
  megabytesPerSecond,
  latencyMs,
  skipped,
  overtaken,
  lost,
}: ReturnType<Statistics["interval"]>): string {
  const figure = (value: number, digits: number, width: number): string => value.toFixed(digits).padStart(width);
  return [
    `${figure(fps, 1, 7)} frames/s`,
    `${figure(megabytesPerSecond, 1, 8)} MB/s`,
    `latency${figure(latencyMs.p50, 2, 7)} ms, p99${figure(latencyMs.p99, 2, 7)} ms`,
    `skipped ${skipped}, overtaken ${overtaken}, lost ${lost}`,
  ].join("  ");
}

function placeOf(text: string): { readonly address?: string; readonly port: number } {
  const [, address, port = ""] = /^(?:([^:]+):)?(\d{1,5})$/.exec(text) ?? [];
  if (port === "" || Number(port) > 65_535) {
    throw new UsageError(`--web is "${text}"; allowed: [ADDRESS:]PORT, PORT from 0 to 65535`, "stream");
  }
  return { port: Number(port), ...(address === undefined ? {} : { address }) };
}
