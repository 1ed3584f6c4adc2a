// `insane stream serve NAME` and `insane stream view NAME`: the command line of Lunar Streaming. Each is in a file of its own
// and loaded when it is called for; here is what their options are and which of the two they belong to.
import { type CommandSpec, type Options, type Parsed, SOCKET } from "./arguments.ts";
import { EXIT, exitCodeOf, UsageError } from "./exit.ts";

const number = (value: string, description: string, minimum: number, maximum: number, fraction = false) =>
  ({ kind: "number", value, minimum, maximum, fraction, description }) as const;
const text = (value: string, description: string) => ({ kind: "text", value, description }) as const;

const SERVE = {
  pattern: text("WIDTHxHEIGHT", "serve: a generated picture with a counter (1280x720 if nothing else is said)"),
  images: text("PATH", "serve: a picture file, or all of a folder"),
  video: text("INPUT", "serve: video as ffmpeg reads it: a file, an address, a device"),
  kind: text("KIND", "serve: what ffmpeg calls the input's kind, where it cannot tell (lavfi, v4l2, ...)"),
  live: { kind: "flag", description: "serve: video in its own time; what nobody takes is thrown away" },
  repeat: { kind: "flag", description: "serve: pictures or video again from the start" },
  fps: number("N", "serve: frames a second; default 30, video as fast as it is taken", 0.01, 10_000, true),
  "min-fps": number("N", "serve: down to this the rate follows what clients can take", 0.01, 10_000, true),
  late: {
    ...text("HOW", "serve: frames for which there is no room are skipped (default), or wait"),
    among: ["skip", "wait"],
  },
  encoding: { ...text("NAME", "serve: raw (default), or compressed"), among: ["raw", "jpeg", "webp", "avif", "png"] },
  acceleration: { ...text("HOW", "serve: does it need more than the kernel's network?"), among: ["none", "fast"] },
  consumption: { ...text("HOW", "serve: may it spend cores on polling?"), among: ["low", "high"] },
} as const satisfies Options;

const VIEW = {
  web: text("[ADDRESS:]PORT", "view: show it in browsers, at http://127.0.0.1:PORT/"),
  png: text("FOLDER", "view: write frames as PNG files"),
  every: number("N", "view: of those only every Nth (1)", 1, 1_000_000_000),
  keep: number("N", "view: frames kept while this one is busy (2)", 1, 1024),
  timeout: number("SECONDS", "view: how long to look for the server (5)", 0, 86_400, true),
} as const satisfies Options;

const spec = {
  name: "stream",
  summary: "Streams pictures of any size (serve), and receives them (view).",
  positionals: "serve|view NAME",
  minimum: 2,
  maximum: 2,
  options: {
    ...SOCKET,
    ...SERVE,
    ...VIEW,
    count: { ...number("N", "frames to serve, or to view; default no end", 1, Number.MAX_SAFE_INTEGER), short: "n" },
  },
  details: "view prints a line a second until the server ends; a server that vanishes is exit code 1.",
} as const satisfies CommandSpec;
export type StreamParsed = Parsed<typeof spec.options>;

/** Errors of the application beside those of the middleware. */
async function main(parsed: StreamParsed): Promise<number> {
  const [what] = parsed.positionals;
  if (what !== "serve" && what !== "view") {
    throw new UsageError(`insane stream takes serve or view, not "${what}"`, spec.name);
  }
  const others = what === "serve" ? VIEW : SERVE;
  for (const name of Object.keys(others) as Array<keyof typeof VIEW | keyof typeof SERVE>) {
    const value = parsed.values[name];
    if (value !== undefined && value !== false) {
      throw new UsageError(`--${name} is not for insane stream ${what}`, spec.name);
    }
  }
  const { StreamingError } = await import("../lunar-streaming/errors.ts");
  try {
    return what === "serve"
      ? await (await import("./stream-serve.ts")).serve(parsed)
      : await (await import("./stream-view.ts")).view(parsed);
  } catch (error) {
    if (!(error instanceof StreamingError)) throw error;
    const { code, message, details } = error;
    const line = parsed.values.json
      ? JSON.stringify({ error: { code, message, details } })
      : `insane: ${code}: ${message}`;
    process.stderr.write(`${line}\n`);
    return code === "ENOSERVER" ? EXIT.TIMED_OUT : exitCodeOf(error);
  }
}

export const command = { spec, main };
