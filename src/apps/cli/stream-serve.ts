// `insane stream serve`: chooses the source, opens the server, loops until it ends or is interrupted.
import { connect } from "../../index.ts";
import {
  encoded,
  type FrameSource,
  images,
  openServer,
  type Server,
  TestPattern,
  video,
} from "../lunar-streaming/index.ts";
import { EXIT, UsageError } from "./exit.ts";
import { interruption } from "./quality.ts";
import { printJson } from "./render.ts";
import type { StreamParsed } from "./stream.ts";

const DEFAULT_FPS = 30;

export async function serve({ values, positionals }: StreamParsed): Promise<number> {
  const name = positionals[1] as string;
  const { fps = values.video === undefined ? DEFAULT_FPS : undefined, late, acceleration, consumption } = values;
  const signal = interruption();
  const source = await sourceOf(values);
  const session = await connect({
    name: `insane stream serve ${name} (${process.pid})`,
    ...(values.socket === undefined ? {} : { socket: values.socket }),
  });
  let server: Server | undefined;
  try {
    server = await openServer(session, {
      name,
      source,
      ...(fps === undefined ? {} : { fps }),
      ...(values["min-fps"] === undefined ? {} : { minFps: values["min-fps"] }),
      ...(late === undefined ? {} : { late: late as "skip" | "wait" }),
      quality: {
        ...(acceleration === undefined ? {} : { acceleration: acceleration as "none" | "fast" }),
        ...(consumption === undefined ? {} : { consumption: consumption as "low" | "high" }),
      },
    });
    const tell = (what: Record<string, unknown>, words: string): void =>
      void process.stderr.write(`${values.json ? JSON.stringify(what) : `insane: ${words}`}\n`);
    for (const { code, message, cure } of server.stream.warnings)
      tell({ warning: { code, message, cure } }, `${code}: ${message} ${cure}`);
    server.on("refused", ({ number, error: { code, message } }) =>
      tell({ refused: { number, code, message } }, `${code}: ${message}`),
    );
    server.on("stalled", ({ error: { code, message } }) => tell({ stalled: { code, message } }, `${code}: ${message}`));
    server.on("rivals", ({ code, message }) => tell({ rivals: { code, message } }, `${code}: ${message}`));
    const { width, height, pixels } = source.format;
    const { datapath } = server.stream.binding;
    tell(
      { ready: true, name, width, height, pixels, encoding: source.encoding ?? "raw", datapath },
      `"${name}" streams ${width} x ${height} ${pixels}, ${source.encoding ?? "raw"}; see it with insane stream view ${name}`,
    );
    const stats = await server.loop({ signal, ...(values.count === undefined ? {} : { frames: values.count }) });
    await server.close();
    if (values.json) printJson(stats, 0);
    else {
      const { late, full, refused, unheard } = stats.skipped;
      const not = late + full + refused + unheard;
      process.stderr.write(
        `insane: sent ${stats.sent} of ${stats.frames} frames, ${stats.bytes} bytes; ${not} skipped\n`,
      );
    }
    return EXIT.OK;
  } finally {
    await (server === undefined ? source.close?.() : server.close());
    await session.close();
  }
}

async function sourceOf(values: StreamParsed["values"]): Promise<FrameSource> {
  const { pattern, images: path, video: input, kind, live, repeat, encoding } = values;
  if ([pattern, path, input].filter((given) => given !== undefined).length > 1) {
    throw new UsageError("--pattern, --images and --video exclude each other", "stream");
  }
  let source: FrameSource;
  if (input !== undefined) source = await video({ input, live, repeat, ...(kind === undefined ? {} : { kind }) });
  else if (path !== undefined) source = await images(path, { repeat });
  else source = patternOf(pattern ?? "1280x720");
  if (encoding === undefined || encoding === "raw") return source;
  return encoded(source, { encoding: encoding as "jpeg" });
}

function patternOf(size: string): TestPattern {
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(size) ?? [];
  if (width === undefined)
    throw new UsageError(`--pattern is "${size}"; allowed: WIDTHxHEIGHT, as 1920x1080`, "stream");
  return new TestPattern({ width: Number(width), height: Number(height), pixels: "rgb8" });
}
