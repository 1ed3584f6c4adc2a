// A runtime double on a socket of its own and sessions with it, all let go at the end of a test; and what a process holds,
// to see that nothing was left behind.
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { Session, Sink, SinkOptions, Source } from "../../src/index.ts";
import { connect, type Message } from "../../src/index.ts";
import type { Qos } from "../../src/protocol/qos.ts";
import { type DoubleOptions, RuntimeDouble } from "./runtime-double.ts";

export class ClientBed implements AsyncDisposable {
  readonly runtime: RuntimeDouble;
  readonly path: string;
  private readonly folder: string;
  private readonly sessions: Session[] = [];

  constructor(options: DoubleOptions = {}) {
    this.folder = mkdtempSync(join(tmpdir(), "insane-client-"));
    this.path = join(this.folder, "insane.sock");
    this.runtime = new RuntimeDouble(this.path, options);
  }

  async session(name: string): Promise<Session> {
    const session = await connect({ socket: this.path, name });
    this.sessions.push(session);
    return session;
  }
  async source(channel = 1, qos: Partial<Qos> = {}, name = "producer"): Promise<Source> {
    return (await (await this.session(name)).createStream(qos)).createSource(channel);
  }
  async sink(
    channel = 1,
    options: SinkOptions = {},
    callback?: (message: Message) => void,
    qos: Partial<Qos> = {},
  ): Promise<{ readonly session: Session; readonly sink: Sink }> {
    const session = await this.session("consumer");
    return { session, sink: await (await session.createStream(qos)).createSink(channel, options, callback) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.sessions.map((session) => session.close()));
    this.runtime.close();
    rmSync(this.folder, { recursive: true });
  }
}

/** Sends a message whose first word is `value`; 0 when the source says EAGAIN. */
export function send(source: Source, value: number, more = false): number {
  const buffer = source.tryGetBuffer(8);
  if (buffer === null) return 0;
  buffer.words[buffer.offset >>> 2] = value;
  const token = source.tryEmit(buffer, more);
  if (token === 0) buffer[Symbol.dispose]();
  return token;
}
export const wordOf = (message: Message): number => message.words[message.offset >>> 2] as number;

/** Descriptors of this process, and mappings of memfds. */
export function holdings(): { readonly fds: number; readonly memfds: number } {
  const fds = readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return !readlinkSync(`/proc/self/fd/${fd}`).startsWith("/");
    } catch {
      return false;
    }
  }).length;
  const memfds = readFileSync("/proc/self/maps", "utf8")
    .split("\n")
    .filter((line) => line.includes("/memfd:")).length;
  return { fds, memfds };
}

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
/** Until it holds, at most so long. */
export async function until(holds: () => boolean, ms = 25_000): Promise<void> {
  for (const end = performance.now() + ms; !holds(); await turn()) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${holds}`);
  }
}

/** An error with this code, and with such a message. */
export const refusal = (code: string, message?: RegExp) =>
  expect.objectContaining({ code, ...(message && { message: expect.stringMatching(message) }) });
