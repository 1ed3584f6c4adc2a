// What the demo's processes say to each other over Node's IPC channel, the channels they use, and how they are started.
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Source, SourceStats, WarningEvent } from "../../client/api.ts";
import type { DecisionRecord } from "../../protocol/control.ts";

/** Channels of the demo, within their streams. */
export const CHANNELS = { readings: 1, frames: 2, credit: 3 } as const;
export const STREAMS = { sensors: "demo/sensors", camera: "demo/camera", control: "demo/control" } as const;
/** Frames the camera sends before it waits for its receivers. */
export const WINDOW = 3;
/** A greeting is sent so often until all have got one, ms. */
const GREETING_MS = 20;

export interface StreamReport {
  readonly name: string;
  /** Who opened it. */
  readonly by: string;
  readonly requested: string;
  readonly datapath: string | null;
  readonly warnings: ReadonlyArray<WarningEvent>;
  readonly decision: DecisionRecord;
}
export interface Latency {
  readonly p50: number;
  readonly p99: number;
}

export type FromRole =
  | { readonly type: "ready"; readonly streams: ReadonlyArray<StreamReport> }
  /** It gets what is sent on both channels. */
  | { readonly type: "reached" }
  | { readonly type: "progress"; readonly readings: number; readonly frames: number }
  | {
      readonly type: "sent";
      readonly messages: number;
      readonly frames: number;
      readonly bytes: number;
      readonly seconds: number;
      readonly dropped: number;
    }
  | {
      readonly type: "received";
      readonly readings: number;
      readonly frames: number;
      readonly intact: number;
      readonly lost: number;
      readonly readingLatency: Latency;
      readonly frameLatency: Latency;
      readonly picture: string | null;
    }
  | { readonly type: "failed"; readonly message: string };
export type ToRole =
  | { readonly type: "go" }
  /** Report once so much has arrived, or when it has not after a while. */
  | { readonly type: "report"; readonly readings: number; readonly frames: number }
  | { readonly type: "end" };
type Told = <T extends ToRole["type"]>(type: T) => Promise<Extract<ToRole, { type: T }>>;

export interface Role {
  readonly name: string;
  readonly child: ChildProcess;
  /** The next message of that type; rejects when the process ends or fails first. */
  next<T extends FromRole["type"]>(type: T, timeoutMs?: number): Promise<Extract<FromRole, { type: T }>>;
  send(message: ToRole): void;
}

/** Starts `file` (beside this one) behind `prefix` (a namespace, say) as a role that attaches to `socket`. */
export function startRole(
  name: string,
  file: string,
  prefix: ReadonlyArray<string>,
  socket: string,
  args: ReadonlyArray<string>,
  onMessage: (role: string, message: FromRole) => void,
): Role {
  const command = [...prefix, process.execPath, fileURLToPath(new URL(file, import.meta.url)), ...args];
  const child = spawn(command[0] as string, command.slice(1), {
    stdio: ["ignore", 2, 2, "ipc"],
    env: { ...process.env, INSANE_SOCKET: socket, INSANE_DEMO_NAME: name },
  });
  const seen: FromRole[] = [];
  const waiting = new Set<() => void>();
  let ended = "";
  const wake = (): void => {
    for (const check of [...waiting]) check();
  };
  child.on("message", (message: FromRole) => {
    seen.push(message);
    onMessage(name, message);
    wake();
  });
  child.on("exit", (code, signal) => {
    ended = signal ?? `code ${code}`;
    wake();
  });
  child.on("error", (error) => {
    ended = error.message;
    wake();
  });
  return {
    name,
    child,
    send: (message) => {
      if (child.connected) child.send(message);
    },
    next: (type, timeoutMs = 30_000) =>
      new Promise((resolve, reject) => {
        const finish = (act: () => void): void => {
          waiting.delete(check);
          clearTimeout(timer);
          act();
        };
        const timer = setTimeout(
          () => finish(() => reject(new Error(`${name} did not say "${type}" within ${timeoutMs} ms`))),
          timeoutMs,
        );
        const check = (): void => {
          const at = seen.findIndex((message) => message.type === type);
          const failed = seen.find((message) => message.type === "failed");
          if (at >= 0) finish(() => resolve(seen.splice(at, 1)[0] as never));
          else if (failed !== undefined) finish(() => reject(new Error(`${name}: ${failed.message}`)));
          else if (ended !== "") finish(() => reject(new Error(`${name} ended (${ended})`)));
        };
        waiting.add(check);
        check();
      }),
  };
}

/** Runs a role's body: reports failures to the parent and leaves when it goes away. */
export async function runRole(body: (say: (message: FromRole) => void, told: Told) => Promise<void>): Promise<void> {
  const say = (message: FromRole): void => void process.send?.(message);
  const seen = new Map<ToRole["type"], ToRole>();
  const waiting = new Map<ToRole["type"], (message: ToRole) => void>();
  process.on("message", (message: ToRole) => {
    seen.set(message.type, message);
    waiting.get(message.type)?.(message);
  });
  process.on("disconnect", () => process.exit(0));
  const told: Told = (type) =>
    new Promise((resolve) => {
      const already = seen.get(type);
      if (already !== undefined) resolve(already as never);
      else waiting.set(type, resolve as (message: ToRole) => void);
    });
  try {
    await body(say, told);
    process.disconnect?.();
  } catch (error) {
    say({
      type: "failed",
      message:
        error instanceof Error ? `${(error as { code?: string }).code ?? error.name}: ${error.message}` : String(error),
    });
    process.exitCode = 1;
    process.disconnect?.();
  }
}

/**
 * Greets on a source's channel until `go`: who sends on a network is not told which hosts a message reaches, so receivers say
 * that a greeting came, and then all that follows does. Resolves with what of that came back unread.
 */
export async function greetUntil(go: Promise<unknown>, source: Source, greet: () => unknown): Promise<number> {
  let gone = false;
  void go.then(() => {
    gone = true;
  });
  while (!gone) {
    greet();
    await Promise.race([go, new Promise((resolve) => setTimeout(resolve, GREETING_MS))]);
  }
  return droppedOf(await source.settled({ signal: AbortSignal.timeout(10_000) }));
}
export const droppedOf = ({ dropped }: SourceStats): number => Object.values(dropped).reduce((sum, n) => sum + n, 0);

/** p50 and p99 in microseconds of samples in milliseconds. */
export function latency(samples: number[]): Latency {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (q: number): number =>
    Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0) * 1000);
  return { p50: at(0.5), p99: at(0.99) };
}
