// An engine in a process of its own, as a scoped effect: the same commands, events and memory as a thread's, over a socket
// pair. A driver that crashes ends that process and nothing else; one that hangs is killed. Nothing of it is ever kept
// aside: what it was given is gone with it.

import { readSync } from "node:fs";
import { constants } from "node:os";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import { limitsOf } from "../native/endpoint-limits.ts";
import { type FrameExtras, processCommands } from "../native/engine-commands.ts";
import { configWords, type EngineConfig } from "../native/engine-config.ts";
import { decodeEvent, type EngineEvent } from "../native/engine-events.ts";
import { ANSWER, decodeStats, encodeFrame, encodeTexts, FRAME, LONGEST_ANSWER } from "../native/engine-frames.ts";
import { ipv4FromNetwork, ipv4ToNetwork } from "../native/ipv4.ts";
import { engineProgram } from "../native/library.ts";
import { InsaneError } from "../protocol/codes.ts";
import { LAYOUT_HASH } from "../protocol/layout.ts";
import { Acknowledgements, COMMAND_MS } from "./acknowledgements.ts";
import { attempt, refused } from "./attempt.ts";
import type { EngineEvents, EngineResource, OpenDatapath } from "./engine.ts";
import { engineMemory } from "./engine-memory.ts";
import * as native from "./native.ts";
import { Quarantine } from "./quarantine.ts";

/** How long it may take until its engine runs, ms. */
const BEGIN_MS = 2500;
/** How long a driver may take to open a datapath before it counts as hanging, ms. */
export const OPEN_MS = 8000;
/** How often it is asked whether it lives, ms. */
const PING_MS = 1000;
/** How long the kernel may take to end a killed process, ms. */
const KILL_MS = 1000;
/** Counters of datapaths are asked for at most so often, ms. */
const STATS_MS = 100;
/** Room for frames under way, bytes. */
const SOCKET_BYTES = 2 ** 20;
/** What is kept of the last that it wrote to its error output. */
const LAST_WORDS = 400;

interface Asked {
  readonly resolve: (answer: DataView) => void;
  readonly reject: (error: InsaneError) => void;
  readonly timer: NodeJS.Timeout;
}

export const engineProcess = (
  name: string,
  config: EngineConfig,
  events: EngineEvents,
): Effect.Effect<EngineResource, InsaneError, Scope.Scope | Quarantine> =>
  Effect.gen(function* () {
    const memory = yield* engineMemory(name, config, false);
    const process = yield* started(name, events);
    const { receivePool, parkedPage, counterSegment } = memory;
    yield* Effect.tryPromise({
      try: () => process.begin(config, [receivePool.segment, parkedPage, counterSegment]),
      catch: (cause) => refused(`start ${name}`, cause),
    });
    // It has mapped what it writes.
    yield* memory.seal;
    process.watch();
    return {
      receivePool,
      parkedPage,
      counters: memory.counters,
      heard: memory.heard,
      latencies: memory.latencies,
      ledger: memory.ledger,
      parked: memory.parked,
      pid: process.pid,
      handle: null,
      serveBy: () => {},
      pinned: () => 0,
      command: (what, send) => process.command(what, send),
      open: (technology, options, at) => process.open(technology, options, at),
      inline: { turns: { send: () => {}, turn: () => {}, linger: () => {} }, release: () => {} },
      stop: () => process.stop(),
      kill: () => process.kill(),
    } satisfies EngineResource;
  });

const started = (
  name: string,
  events: EngineEvents,
): Effect.Effect<EngineProcess, InsaneError, Scope.Scope | Quarantine> =>
  Effect.gen(function* () {
    const quarantine = yield* Quarantine;
    return yield* Effect.acquireRelease(
      attempt(`start ${name}`, () => new EngineProcess(name, events)),
      (process) =>
        Effect.sync(() => {
          if (!process.end()) quarantine.keep(`${name}, whose process ${process.pid} cannot be killed`);
        }),
    );
  });

class EngineProcess {
  readonly pid: number;
  readonly #name: string;
  readonly #events: EngineEvents;
  readonly #socket: number;
  readonly #life: number;
  readonly #words: number;
  /** By what is watched: its answers, its end, its error output. */
  readonly #watched: { answers?: () => void; life?: () => void; words?: () => void } = {};
  readonly #acknowledgements: Acknowledgements;
  readonly #asked = new Map<string, Asked>();
  readonly #stats = new Map<number, Record<string, number>>();
  readonly #answer = new Uint8Array(LONGEST_ANSWER);
  readonly #commands = processCommands((kind, words, extras) => this.#order(kind, words, extras));
  readonly #ended: Promise<void>;
  #hasEnded: () => void = () => {};
  #alive = true;
  #sequence = 0;
  #handle = 0;
  #statsAt = 0;
  #lastWords = "";
  #how = "has stopped";
  #watchdog: NodeJS.Timeout | null = null;

  constructor(name: string, events: EngineEvents) {
    this.#name = name;
    this.#events = events;
    this.#ended = new Promise((resolve) => {
      this.#hasEnded = resolve;
    });
    this.#acknowledgements = new Acknowledgements({
      name,
      pump: () => this.#pump(),
      overdue: (what) => events.overdue(what),
      late: () => events.late(),
    });
    const program = engineProgram();
    const [ours, theirs] = native.socketPair(SOCKET_BYTES);
    const [words, says] = native.pipe();
    try {
      const { pid, life } = native.startProcess(program, name, [theirs], says);
      this.pid = pid;
      this.#life = life;
    } catch (cause) {
      native.close(ours);
      native.close(words);
      throw cause;
    } finally {
      native.close(theirs);
      native.close(says);
    }
    this.#socket = ours;
    this.#words = words;
    this.#watched.answers = native.wakeOnReadable(ours, () => this.#pump());
    this.#watched.life = native.wakeOnReadable(this.#life, () => this.#look(0));
    this.#watched.words = native.wakeOnReadable(words, () => this.#hear());
  }

  async begin(
    config: EngineConfig,
    segments: ReadonlyArray<{ readonly fd: number; readonly bytes: number }>,
  ): Promise<void> {
    const words = configWords(config);
    const data = new Uint8Array(words.buffer);
    const answer = this.#ask(`begin`, BEGIN_MS, "run its engine");
    this.#send(FRAME.BEGIN, 0, [LAYOUT_HASH, data.byteLength], {
      bytes: segments[0]?.bytes ?? 0,
      data,
      fds: segments.map(({ fd }) => fd),
    });
    const status = (await answer).getInt32(4, true);
    if (status !== 0) throw new InsaneError("ESYSTEM", `its engine does not start: ${native.errnoName(status)}`);
  }

  /** From now on it is asked now and then whether it lives: a hang is found out also when nobody wants anything of it. */
  watch(): void {
    let answered = true;
    this.#watchdog = setInterval(() => {
      this.#send(FRAME.STATS, 0, []);
      if (!answered) return;
      answered = false;
      void this.command("a ping", (api, engine) => api.ping(engine))
        .catch(() => {}) // overdue or over: that has been told
        .finally(() => {
          answered = true;
        });
    }, PING_MS);
  }

  command(what: string, send: Parameters<EngineResource["command"]>[1]): Promise<number> {
    if (!this.#alive) return Promise.reject(this.#over(what));
    try {
      return this.#acknowledgements.of(send(this.#commands, 0n), what);
    } catch (cause) {
      return Promise.reject(cause);
    }
  }

  async open(
    technology: string,
    options: string,
    at: { readonly address: string; readonly port: number },
  ): Promise<OpenDatapath> {
    const handle = ++this.#handle;
    const where = `${at.address}:${at.port}`;
    const answer = this.#ask(`open ${handle}`, OPEN_MS, `open the datapath ${technology}`);
    this.#send(FRAME.OPEN, 0, [handle, ipv4ToNetwork(at.address), at.port], { data: encodeTexts(technology, options) });
    const opened = await answer;
    const status = opened.getInt32(4, true);
    if (status !== 0) {
      const errno = native.errnoName(status);
      throw new InsaneError("ESYSTEM", `Opening a datapath failed (name ${technology}, at ${where}): ${errno}.`, {
        call: "Opening a datapath",
        errno,
        number: -status,
        name: technology,
      });
    }
    const endpoint = {
      address: ipv4FromNetwork(opened.getUint32(12, true)),
      port: opened.getUint32(16, true),
      ...limitsOf(opened.getUint32(20, true)),
    };
    return {
      handle: BigInt(handle),
      endpoint,
      counters: () => {
        if (this.#alive && Date.now() - this.#statsAt >= STATS_MS) {
          this.#statsAt = Date.now();
          this.#send(FRAME.STATS, 0, []);
        }
        return { ...this.#stats.get(handle) };
      },
      close: () => {
        this.#stats.delete(handle);
        if (this.#alive) this.#send(FRAME.CLOSE, 0, [handle]);
      },
    };
  }

  /** Asks it to end, and ends it when it does not. */
  async stop(): Promise<boolean> {
    if (this.#alive) this.#send(FRAME.STOP, 0, []);
    if (await this.#endsWithin(COMMAND_MS)) return true;
    this.kill();
    return this.#endsWithin(KILL_MS);
  }

  kill(): void {
    if (this.#alive) native.killProcess(this.#life);
  }

  /** Ends it, if it has not ended, and gives back what is ours of it. False: it cannot be killed. */
  end(): boolean {
    if (this.#watchdog) clearInterval(this.#watchdog);
    if (this.#alive) {
      native.killProcess(this.#life);
      this.#look(KILL_MS);
    }
    this.#settle();
    for (const unwatch of Object.values(this.#watched)) unwatch();
    for (const fd of [this.#socket, this.#words, this.#life]) native.close(fd);
    const ended = !this.#alive;
    // One that cannot be killed is not talked to any more either: these numbers will be others' descriptors.
    this.#alive = false;
    return ended;
  }

  // ---- what it says ----

  #pump(): void {
    for (;;) {
      const length = native.receive(this.#socket, this.#answer);
      // Its end of the socket closes with it; the descriptor of its life says how it ended.
      if (length === "gone") this.#watched.answers?.();
      if (typeof length !== "number") return;
      this.#take(new DataView(this.#answer.buffer, 0, length));
    }
  }

  #take(answer: DataView): void {
    const type = answer.getUint32(0, true);
    const subject = answer.getUint32(8, true);
    if (type === ANSWER.BEGUN) this.#answered("begin", answer);
    else if (type === ANSWER.OPENED) this.#answered(`open ${subject}`, answer);
    else if (type === ANSWER.STATS) this.#stats.set(subject, decodeStats(answer));
    else {
      const event: EngineEvent | null = decodeEvent(answer);
      if (event?.type === "ack") this.#acknowledgements.settle(event);
      else if (event) this.#events.event(event);
    }
  }

  #answered(key: string, answer: DataView): void {
    const asked = this.#asked.get(key);
    if (!asked) return;
    this.#asked.delete(key);
    clearTimeout(asked.timer);
    // The buffer is used again for the next answer.
    asked.resolve(new DataView(answer.buffer.slice(answer.byteOffset, answer.byteOffset + answer.byteLength)));
  }

  /** Its error output, read until the end so that it never waits for us; the last of it is told when it dies. */
  #hear(): void {
    const chunk = new Uint8Array(4096);
    try {
      for (let length = readSync(this.#words, chunk); length > 0; length = readSync(this.#words, chunk)) {
        this.#lastWords = (this.#lastWords + new TextDecoder().decode(chunk.subarray(0, length))).slice(-LAST_WORDS);
      }
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "EAGAIN") return;
    }
    this.#watched.words?.();
  }

  // ---- what it is told ----

  #send(
    kind: number,
    sequence: number,
    words: ReadonlyArray<number>,
    extras: FrameExtras = {},
  ): "sent" | "again" | "gone" {
    return native.send(this.#socket, encodeFrame(kind, sequence, words, extras.bytes, extras.data), extras.fds ?? []);
  }

  #order(kind: number, words: ReadonlyArray<number>, extras?: FrameExtras): number {
    const sequence = ++this.#sequence;
    const how = this.#send(kind, sequence, words, extras);
    if (how === "gone") throw this.#over("a command");
    if (how === "again") {
      throw new InsaneError(
        "ELIMIT",
        `${this.#name} takes no more commands. Wait for acknowledgements; if none come, it hangs.`,
      );
    }
    return sequence;
  }

  /** Resolves with the answer; one that does not come is a hang, and the process is killed. */
  #ask(key: string, ms: number, what: string): Promise<DataView> {
    if (!this.#alive) return Promise.reject(this.#over(what));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pump();
        if (!this.#asked.delete(key)) return;
        reject(new InsaneError("ETIMEDOUT", `${this.#name} did not ${what} within ${ms} ms; its process is killed.`));
        this.kill();
      }, ms);
      this.#asked.set(key, { resolve, reject, timer });
    });
  }

  // ---- its end ----

  /** Has it ended? Waits for it at most so long. */
  #look(ms: number): void {
    if (!this.#alive) return;
    const how = native.endOfProcess(this.#life, ms);
    if (!how) return;
    // What it had said before is still true.
    this.#pump();
    this.#hear();
    this.#alive = false;
    this.#how = this.#howItEnded(how);
    this.#settle();
    for (const unwatch of Object.values(this.#watched)) unwatch();
    this.#events.died(this.#how);
    this.#hasEnded();
  }

  #settle(): void {
    if (this.#watchdog) clearInterval(this.#watchdog);
    this.#acknowledgements.end(true);
    for (const { reject, timer } of this.#asked.values()) {
      clearTimeout(timer);
      reject(this.#over());
    }
    this.#asked.clear();
  }

  #howItEnded({ signal, number }: { readonly signal: boolean; readonly number: number }): string {
    const names = Object.entries(constants.signals);
    const named = names.find(([, value]) => value === number)?.[0] ?? `signal ${number}`;
    const words = this.#lastWords.trim().replaceAll(/\s+/g, " ");
    return `its process ${this.pid} was ended by ${signal ? named : `itself, status ${number}`}${words ? `: ${words}` : ""}`;
  }

  async #endsWithin(ms: number): Promise<boolean> {
    if (!this.#alive) return true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    });
    await Promise.race([this.#ended, late]);
    clearTimeout(timer);
    return !this.#alive;
  }

  #over(what = ""): InsaneError {
    return new InsaneError("ECLOSED", `${this.#name}${what ? ` (${what})` : ""}: ${this.#how}.`);
  }
}
