// Real video, decoded by the program ffmpeg: raw frames through a pipe, written into shared memory as they come. The
// program's end, its failure or a frame cut short is told by name; closing ends it.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { StreamingError } from "../errors.ts";
import { checkFormat, type FrameFormat, frameBytes } from "../frame-header.ts";
import type { Filled, FrameSource } from "../frame-source.ts";

export interface VideoOptions {
  /** File, address or device, as ffmpeg takes it. */
  readonly input: string;
  /** ffmpeg's name of the input's kind, where it cannot tell: lavfi, v4l2, rawvideo … */
  readonly kind?: string;
  /** Scales to this; default as the input is. */
  readonly width?: number;
  readonly height?: number;
  /** In the input's own time; else as fast as frames are taken. Frames nobody takes are thrown away. */
  readonly live?: boolean;
  /** Again from the start at its end. */
  readonly repeat?: boolean;
}

const KEPT_WORDS = 400;

/** Errors: ESOURCE (no ffmpeg, no such input), EFORMAT. */
export async function video(options: VideoOptions): Promise<FrameSource> {
  const { width, height } = options;
  const size = width !== undefined && height !== undefined ? { width, height } : await probe(options);
  const format: FrameFormat = { ...size, pixels: "rgb8" };
  checkFormat(format);
  return new Video(options, format);
}

const inputOf = ({ input, kind }: VideoOptions): string[] => [...(kind === undefined ? [] : ["-f", kind]), "-i", input];

async function probe(options: VideoOptions): Promise<{ readonly width: number; readonly height: number }> {
  const wanted = ["-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "json"];
  try {
    const { stdout } = await promisify(execFile)("ffprobe", [...wanted, ...inputOf(options)]);
    const [stream] = (JSON.parse(stdout) as { streams: Array<{ width: number; height: number }> }).streams;
    if (stream !== undefined) return { width: stream.width, height: stream.height };
  } catch (cause) {
    const { code, stderr = "" } = cause as { code?: unknown; stderr?: string };
    throw failed(options.input, code === "ENOENT" ? missing("ffprobe") : stderr.trim() || String(cause));
  }
  throw failed(options.input, "it has no video");
}

const missing = (program: string): string => `the program ${program} is not there (Debian package ffmpeg)`;
const failed = (input: string, why: string): StreamingError =>
  new StreamingError("ESOURCE", `Video from ${input}: ${why}.`, { input });

class Video implements FrameSource {
  readonly format: FrameFormat;
  readonly skipFrame?: () => Promise<void>;
  private readonly input: string;
  private readonly child: ChildProcess;
  private readonly pipe: Readable;
  private readonly bytes: number;
  private readonly ended: Promise<string | undefined>;
  private words = "";
  /** What came behind the last frame. */
  private rest: Buffer = Buffer.alloc(0);
  private over = false;

  constructor(options: VideoOptions, format: FrameFormat) {
    const { live = false, repeat = false, input } = options;
    this.input = input;
    this.format = format;
    this.bytes = frameBytes(format);
    const before = [...(live ? ["-re"] : []), ...(repeat ? ["-stream_loop", "-1"] : [])];
    const after = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", `${format.width}x${format.height}`, "pipe:1"];
    const line = ["-v", "error", "-nostdin", ...before, ...inputOf(options), ...after];
    this.child = spawn("ffmpeg", line, { stdio: ["ignore", "pipe", "pipe"] });
    this.pipe = this.child.stdout as Readable;
    // Node throws away what nobody listens for when the program ends.
    this.pipe.on("readable", () => {});
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.words = (this.words + text).slice(-KEPT_WORDS);
    });
    this.ended = new Promise((resolve) => {
      this.child.on("error", (cause: NodeJS.ErrnoException) => {
        resolve(cause.code === "ENOENT" ? missing("ffmpeg") : cause.message);
      });
      this.child.on("close", (code, signal) => {
        resolve(
          code === 0 ? undefined : `ffmpeg ended with ${signal ?? code}: ${this.words.trim().replace(/\.$/, "")}`,
        );
      });
    });
    if (live) this.skipFrame = async () => void (await this.read(null));
  }

  async getFrame(into: Uint8Array): Promise<Filled | null> {
    const got = await this.read(into);
    if (got === this.bytes) return { bytes: got };
    const why = await this.ended;
    // Said once; then there are no more.
    if (this.over) return null;
    this.over = true;
    if (why !== undefined) throw failed(this.input, why);
    if (got === 0) return null;
    const cut = `Video from ${this.input} ended within a frame: ${got} of ${this.bytes} bytes.`;
    throw new StreamingError("EFRAMESIZE", cut, { bytes: got, expected: this.bytes });
  }

  /** Bytes of one frame, fewer at the end. */
  private async read(into: Uint8Array | null): Promise<number> {
    let got = 0;
    for (;;) {
      const take = Math.min(this.rest.length, this.bytes - got);
      into?.set(this.rest.subarray(0, take), got);
      got += take;
      this.rest = this.rest.subarray(take);
      if (got === this.bytes) return got;
      const chunk = this.pipe.read() as Buffer | null;
      if (chunk !== null) this.rest = chunk;
      else if (this.pipe.readableEnded || this.pipe.destroyed) return got;
      else await this.more();
    }
  }

  /** Until there is something to read, or will never be again. */
  private more(): Promise<void> {
    return new Promise((resolve) => {
      const events = ["readable", "end", "close", "error"] as const;
      const done = (): void => {
        for (const event of events) this.pipe.off(event, done);
        resolve();
      };
      for (const event of events) this.pipe.on(event, done);
    });
  }

  async close(): Promise<void> {
    this.over = true;
    this.child.kill("SIGKILL");
    this.pipe.destroy();
    await this.ended;
  }
}
