// One session of a runtime double: its control socket, its pages and pools, and the answers to what its application asks.
// Links between sessions are the runtime double's business.
import { ERRNO, platform } from "../../src/native/platform.ts";
import { type Mapping, mapSegment, type Waker, wakeOnReadable } from "../../src/native/views.ts";
import { InsaneError } from "../../src/protocol/codes.ts";
import type { DecisionRecord, PoolRecord, SinkPolicyRecord } from "../../src/protocol/control.ts";
import {
  CONTROL_PAGE,
  LAYOUT_HASH,
  PARKED_PAGE,
  POOL_CLASSES,
  poolBytes,
  SESSION_STATE,
  STATS_PAGE,
  slotStride,
} from "../../src/protocol/layout.ts";
import type { Qos } from "../../src/protocol/qos.ts";
import { defaultStreamName, streamTag } from "../../src/protocol/qos.ts";
import {
  decodeFrame,
  encodeFailure,
  encodeNotification,
  encodeRequest,
  encodeResponse,
  MAX_FRAME,
  toFailure,
  toInsaneError,
} from "../../src/protocol/rpc.ts";
import type { RuntimeDouble } from "./runtime-double.ts";

export interface Member {
  readonly id: number;
  readonly session: DoubleSession;
  readonly name: string;
  readonly qos: Qos;
  pools: PoolRecord[];
  poolFds: number[];
  nextIndex: number;
  readonly sources: Map<number, { readonly channel: number; readonly index: number }>;
  readonly sinks: Map<number, { readonly channel: number; readonly policy: SinkPolicyRecord }>;
}

export class DoubleSession {
  readonly id: number;
  readonly members = new Map<number, Member>();
  readonly parkedFd: number;
  nextLink = 0;
  gone = false;
  private name = "";
  private readonly runtime: RuntimeDouble;
  private readonly fd: number;
  private readonly controlFd: number;
  private readonly statsFd: number;
  private readonly page: Mapping;
  private readonly words: Int32Array;
  readonly stats: Mapping;
  private readonly waker: Waker;
  private readonly buffer = new Uint8Array(MAX_FRAME);
  private readonly pending = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>();
  private nextRequest = 1;
  private nextBlock = 0;

  constructor(runtime: RuntimeDouble, fd: number, id: number) {
    this.runtime = runtime;
    this.fd = fd;
    this.id = id;
    this.controlFd = platform().segmentCreate("control", CONTROL_PAGE.BYTES);
    this.parkedFd = platform().segmentCreate("parked", PARKED_PAGE.BYTES);
    this.statsFd = platform().segmentCreate("stats", STATS_PAGE.BYTES);
    this.page = mapSegment(this.controlFd, CONTROL_PAGE.BYTES, true);
    this.stats = mapSegment(this.statsFd, STATS_PAGE.BYTES, false);
    this.words = new Int32Array(this.page.buffer);
    this.words[CONTROL_PAGE.MAGIC >>> 2] = CONTROL_PAGE.MAGIC_VALUE;
    this.words[CONTROL_PAGE.STATE >>> 2] = SESSION_STATE.OPEN;
    this.waker = wakeOnReadable(fd, () => this.receive());
  }

  get peer() {
    return { session: this.id, name: this.name };
  }

  /** As a real one would, before it hangs up on a session that broke the rules. */
  evict(reason: string): void {
    this.send(encodeNotification("runtime.closing", { reason }));
    this.words[CONTROL_PAGE.STATE >>> 2] = SESSION_STATE.EVICTED;
    this.end();
  }

  notify(method: string, params: unknown): void {
    this.send(encodeNotification(method, params));
  }

  request(method: string, params: unknown, fds: ReadonlyArray<number> = []): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = this.nextRequest++;
      this.pending.set(id, { resolve, reject });
      this.send(encodeRequest(id, method, params), fds);
    });
  }

  send(frame: Uint8Array, fds: ReadonlyArray<number> = []): void {
    if (this.gone) return;
    platform().raw.socketSend(this.fd, frame, frame.length, fds.length ? Int32Array.from(fds) : null, fds.length);
    Atomics.add(this.words, CONTROL_PAGE.CONTROL_TAIL >>> 2, 1);
  }

  private receive(): void {
    const none = new Int32Array(1);
    while (!this.gone) {
      const length = platform().raw.socketReceive(this.fd, this.buffer, MAX_FRAME, none, new Uint32Array(1));
      if (length === 0 || (length < 0 && length !== ERRNO.EAGAIN)) {
        this.end();
        return;
      }
      if (length < 0) return;
      const frame = decodeFrame(this.buffer.subarray(0, length));
      if (frame.type === "response") {
        const pending = this.pending.get(frame.id);
        this.pending.delete(frame.id);
        if (frame.error) pending?.reject(toInsaneError(frame.error));
        else pending?.resolve(frame.result);
      } else if (frame.type === "request") {
        const { id } = frame;
        this.serve(frame.method, frame.params as never).then(
          ({ result, fds }) => this.send(encodeResponse(id, result), fds),
          (error) => this.send(encodeFailure(id, toFailure(error))),
        );
      } else if (frame.method === "link.fault") {
        this.runtime.faults.push({ session: this.id, what: (frame.params as { what: string }).what });
      }
    }
  }

  private async serve(method: string, p: Record<string, never>): Promise<{ result: unknown; fds?: number[] }> {
    const { runtime } = this;
    const member = (): Member => {
      const found = this.members.get(p["stream"] as unknown as number);
      if (!found) throw new InsaneError("ENOENT", "no such stream");
      return found;
    };
    switch (method) {
      case "hello": {
        if (p["layout"] !== LAYOUT_HASH) throw new InsaneError("ELAYOUT", "the layout differs");
        this.name = p["name"] as unknown as string;
        const described = { id: "double", name: "double", version: "0", pid: process.pid };
        const result = { session: this.id, epoch: 1, runtime: described, maxFrame: MAX_FRAME };
        return { result, fds: [this.controlFd, this.parkedFd, this.statsFd] };
      }
      case "session.mapped":
        platform().segmentSealFutureWrite(this.parkedFd);
        return { result: {} };
      case "stream.open": {
        const qos = p["qos"] as unknown as Qos;
        const name = (p["name"] as string | undefined) ?? defaultStreamName(qos);
        const known = [...this.members.values()].find((member) => member.name === name);
        const id = known?.id ?? runtime.nextId++;
        const fresh: Member = {
          id,
          session: this,
          name,
          qos,
          pools: [],
          poolFds: [],
          nextIndex: 0,
          sources: new Map(),
          sinks: new Map(),
        };
        this.members.set(id, known ?? fresh);
        return { result: { stream: id, name, tag: streamTag(name), decision: decision(qos) } };
      }
      case "pool.open": {
        const of = member();
        if (of.pools.length === 0) this.makePools(of);
        return { result: { pools: of.pools }, fds: of.poolFds };
      }
      case "pool.mapped":
        for (const fd of member().poolFds) platform().segmentSealFutureWrite(fd);
        return { result: {} };
      case "source.open": {
        const of = member();
        const source = runtime.nextId++;
        const index = of.nextIndex++;
        of.sources.set(source, { channel: p["channel"] as unknown as number, index });
        await runtime.connect(of.name);
        return { result: { source, index, stats: this.nextBlock++ } };
      }
      case "sink.open": {
        const of = member();
        const sink = runtime.nextId++;
        of.sinks.set(sink, {
          channel: p["channel"] as unknown as number,
          policy: p["policy"] as unknown as SinkPolicyRecord,
        });
        await runtime.connect(of.name);
        return { result: { sink, stats: this.nextBlock++, unconfirmed: [] } };
      }
      case "source.close":
      case "sink.close": {
        const id = (p["source"] ?? p["sink"]) as unknown as number;
        for (const of of this.members.values()) {
          if (of.sources.delete(id) || of.sinks.delete(id)) await runtime.connect(of.name);
        }
        return { result: {} };
      }
      case "stream.close":
        await this.leave(member());
        return { result: {} };
      case "session.close":
        for (const of of [...this.members.values()]) await this.leave(of);
        setImmediate(() => this.end());
        return { result: {} };
      default:
        throw new InsaneError("EMETHOD", `unknown method ${method}`);
    }
  }

  private makePools(of: Member): void {
    const { slots, largeSlots = 4 } = this.runtime.options;
    const { maxMessage } = of.qos;
    const below = POOL_CLASSES.filter(({ bytes }) => bytes < maxMessage);
    const next = POOL_CLASSES.find(({ bytes }) => bytes >= maxMessage);
    const classes = [...below, { bytes: maxMessage, slots: next?.slots ?? largeSlots }];
    of.pools = classes.map(({ bytes, slots: usual }, pool) => {
      const stride = slotStride(bytes);
      const count = slots ?? usual;
      return { pool, bytes: poolBytes(count, stride), stride, payload: bytes, slots: count };
    });
    of.poolFds = of.pools.map(({ bytes }) => platform().segmentCreate("pool", bytes));
  }

  private async leave(of: Member): Promise<void> {
    of.sources.clear();
    of.sinks.clear();
    await this.runtime.connect(of.name);
    this.members.delete(of.id);
    for (const fd of of.poolFds.splice(0)) platform().fdClose(fd);
  }

  /** Hangs up. */
  end(): void {
    if (this.gone) return;
    this.gone = true;
    this.waker.close();
    for (const fd of [this.fd, this.controlFd, this.parkedFd, this.statsFd]) platform().fdClose(fd);
    this.page.unmap();
    this.stats.unmap();
    for (const { reject } of this.pending.values()) reject(new Error("gone"));
    this.runtime.sessions.delete(this.id);
    if (!this.runtime.closed)
      for (const link of [...this.runtime.links]) {
        if (link.producer.session === this || link.consumer.session === this)
          void this.runtime.shut(link, "the other end is gone");
      }
    for (const of of this.members.values()) for (const fd of of.poolFds.splice(0)) platform().fdClose(fd);
  }
}

const decision = (qos: Qos): DecisionRecord => ({
  datapath: null,
  local: "shm",
  strategy: "double",
  qos,
  candidates: [],
  warnings: [],
  wait: "park",
  trustDomain: "test",
  decidedAt: new Date(0).toISOString(),
});
