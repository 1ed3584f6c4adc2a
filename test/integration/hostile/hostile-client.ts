// An application that keeps to nothing: it attaches like any other, maps what it is given, and then writes whatever a test
// wants wherever it can. It answers the runtime's requests as a good one would, unless it is told to be silent.
import { platform } from "../../../src/native/platform.ts";
import { type Mapping, mapSegment } from "../../../src/native/views.ts";
import { LAYOUT_HASH, LINK, linkBytes, PARKED_PAGE, type POOL, STATS_PAGE } from "../../../src/protocol/layout.ts";
import {
  encodeFailure,
  encodeRequest,
  encodeResponse,
  type Frame,
  PROTOCOL_VERSION,
  type RpcFailure,
} from "../../../src/protocol/rpc.ts";
import { RawClient } from "../runtime/raw-client.ts";

export type Answer = { readonly error: RpcFailure | null; readonly result: unknown };
export const QOS = {
  acceleration: "none",
  consumption: "low",
  timeSensitivity: "best-effort",
  maxMessage: 65536,
} as const;

export interface Pool {
  readonly pool: number;
  readonly bytes: number;
  readonly stride: number;
  readonly payload: number;
  readonly slots: number;
}
export interface OpenedLink {
  readonly link: number;
  readonly role: "producer" | "consumer";
  readonly kind: "direct" | "egress" | "ingress";
  readonly stream: number;
  readonly entries: number;
  readonly peer: { readonly session: number; readonly name: string };
  readonly pools: ReadonlyArray<Pool>;
  readonly channels: ReadonlyArray<{ readonly index: number; readonly channel: number }>;
  readonly sources: ReadonlyArray<{ readonly index: number; readonly source: number; readonly channel: number }>;
}

/** One end of a link, with every word of it at hand. */
export class HostileLink {
  readonly info: OpenedLink;
  readonly fds: ReadonlyArray<number>;
  readonly words: Int32Array;
  /** What this end has published, kept as a good one would. */
  tail = 0;
  readonly #mapping: Mapping;

  constructor(info: OpenedLink, fds: ReadonlyArray<number>) {
    this.info = info;
    this.fds = fds;
    this.#mapping = mapSegment(fds[0] ?? -1, linkBytes(info.entries), true);
    this.words = new Int32Array(this.#mapping.buffer);
  }

  get bell(): number {
    return this.fds[1] ?? -1;
  }
  get parkedPage(): number {
    return this.fds[2] ?? -1;
  }

  get forwardTail(): number {
    return Atomics.load(this.words, LINK.FORWARD_TAIL >>> 2);
  }
  set forwardTail(value: number) {
    Atomics.store(this.words, LINK.FORWARD_TAIL >>> 2, value);
  }
  get returnTail(): number {
    return Atomics.load(this.words, LINK.RETURN_TAIL >>> 2);
  }
  set returnTail(value: number) {
    Atomics.store(this.words, LINK.RETURN_TAIL >>> 2, value);
  }

  ring(): void {
    platform().raw.bellRing(this.bell);
  }

  /** Index of the first word of the descriptor at a place of the ring. */
  descriptorAt(index: number): number {
    return (LINK.RING >>> 2) + (index & (this.info.entries - 1)) * (LINK.DESCRIPTOR_BYTES >>> 2);
  }
  returnAt(index: number): number {
    const first = (LINK.RING + this.info.entries * LINK.DESCRIPTOR_BYTES) >>> 2;
    return first + (index & (this.info.entries - 1));
  }

  /** As producer: writes a descriptor as it is and publishes it. */
  push(word0: number, offset: number, length: number, route: number): void {
    const at = this.descriptorAt(this.tail++);
    this.words[at] = word0;
    this.words[at + 1] = offset;
    this.words[at + 2] = length;
    this.words[at + 3] = route;
    this.forwardTail = this.tail;
    this.ring();
  }

  /** As consumer: writes returns as they are and publishes them together. */
  giveBack(...words: number[]): void {
    for (const word of words) this.words[this.returnAt(this.tail++)] = word;
    this.returnTail = this.tail;
    this.ring();
  }

  /** As consumer: entries that were pushed, in order, from the place given on. */
  pushed(from: number): number[] {
    const entries: number[] = [];
    // The tail may be one that an attack has put there.
    for (let index = from; index !== this.forwardTail && entries.length < this.info.entries; index = (index + 1) | 0)
      entries.push((this.words[this.descriptorAt(index)] as number) & 0xffff);
    return entries;
  }

  close(): void {
    this.#mapping.unmap();
    for (const fd of this.fds) platform().fdClose(fd);
  }
}

export class HostileClient extends RawClient {
  static readonly greeting = {
    protocol: PROTOCOL_VERSION,
    layout: LAYOUT_HASH,
    role: "application",
    name: "hostile",
    version: "test",
  };
  readonly links: HostileLink[] = [];
  /** Descriptors that came with answers and are not a link's: pages and pools. */
  readonly given: number[] = [];
  session = 0;
  /** Method -> what it does instead of answering; `null`: nothing at all. */
  readonly instead = new Map<string, ((frame: Frame & { readonly type: "request" }) => void) | null>();
  /** Reads nothing by itself. */
  deaf = false;
  readonly #mappings: Mapping[] = [];
  readonly #pump: NodeJS.Timeout;
  #pools: Mapping[] = [];

  constructor(path: string) {
    super(path);
    this.#pump = setInterval(() => !this.deaf && this.look(), 4);
  }

  /** Attached, pages mapped. */
  static async attach(path: string, name = "hostile"): Promise<HostileClient> {
    const client = new HostileClient(path);
    const { error, result } = await client.hello({ name });
    if (error) throw new Error(`${error.code}: ${error.message}`);
    client.session = (result as { session: number }).session;
    await client.must("session.mapped", {});
    return client;
  }

  protected override took(frame: Frame, fds: ReadonlyArray<number>): void {
    if (frame.type !== "request") {
      this.given.push(...fds);
      return;
    }
    const instead = this.instead.get(frame.method);
    if (instead !== undefined) {
      this.given.push(...fds);
      instead?.(frame);
      return;
    }
    if (frame.method === "link.open") this.links.push(new HostileLink(frame.params as OpenedLink, fds));
    else this.given.push(...fds);
    this.raw(encodeResponse(frame.id, frame.method === "link.close" ? { abandoned: 0 } : {}));
  }

  refuse(id: number, failure: RpcFailure): void {
    this.raw(encodeFailure(id, failure));
  }

  /** The result; throws what it was refused with. */
  async must(method: string, params: unknown): Promise<Record<string, unknown>> {
    const { error, result } = (await this.ask(method, params)) as Answer;
    if (error) throw new Error(`${method}: ${error.code}: ${error.message}`);
    return result as Record<string, unknown>;
  }

  async stream(name: string, over: Record<string, unknown> = {}): Promise<number> {
    return (await this.must("stream.open", { name, qos: { ...QOS, ...over } }))["stream"] as number;
  }

  /** A link that has been opened for this stream and role; waits for it. */
  link(stream: number, role: HostileLink["info"]["role"], kind: OpenedLink["kind"] = "direct"): Promise<HostileLink> {
    const found = (): HostileLink | undefined =>
      this.links.find(({ info }) => info.stream === stream && info.role === role && info.kind === kind);
    return this.until(found, `a ${kind} link as ${role}`);
  }

  async sink(
    stream: number,
    channel: number,
    policy: Record<string, unknown> = { kind: "drop-newest" },
  ): Promise<number> {
    return (await this.must("sink.open", { stream, channel, policy }))["sink"] as number;
  }

  /** Maps the pools of a stream writable and opens a source on it. */
  async source(
    stream: number,
    channel: number,
  ): Promise<{ source: number; index: number; pools: Pool[]; memory: Mapping[] }> {
    const before = this.given.length;
    const { pools } = (await this.must("pool.open", { stream })) as { pools: Pool[] };
    const fds = this.given.slice(before, before + pools.length);
    const memory = pools.map(({ bytes }, i) => mapSegment(fds[i] ?? -1, bytes, true));
    this.#mappings.push(...memory);
    this.#pools = memory;
    await this.must("pool.mapped", { stream });
    const { source, index } = (await this.must("source.open", { stream, channel })) as {
      source: number;
      index: number;
    };
    return { source, index, pools, memory };
  }

  get pools(): ReadonlyArray<Mapping> {
    return this.#pools;
  }

  /** Maps one of the pages that hello gave: 0 control, 1 parked, 2 statistics. */
  page(which: 0 | 1 | 2): Mapping {
    const bytes = [8192, PARKED_PAGE.BYTES, STATS_PAGE.BYTES][which] as number;
    const mapping = mapSegment(this.given[which] ?? -1, bytes, which !== 0);
    this.#mappings.push(mapping);
    return mapping;
  }

  /** Sends a request and does not wait for its answer. */
  fling(method: string, params: unknown, id = 4_000_000_000 + Math.floor(Math.random() * 1000)): number {
    return this.raw(encodeRequest(id, method, params));
  }

  /** Sends bytes with descriptors. */
  withFds(bytes: Uint8Array, fds: ReadonlyArray<number>): number {
    return platform().raw.socketSend(this.fd, bytes, bytes.byteLength, Int32Array.from(fds), fds.length);
  }

  override close(): void {
    clearInterval(this.#pump);
    super.close();
    for (const link of this.links.splice(0)) link.close();
    for (const mapping of this.#mappings.splice(0)) mapping.unmap();
    for (const fd of this.given.splice(0)) platform().fdClose(fd);
  }
}

/** As descriptors carry it: entry, pool, flags in one word. */
export const word0 = (entry: number, pool = 0, flags = 0): number => entry | (pool << 16) | (flags << 24);
/** Where a slot's payload begins. */
export const slotOffset = (pool: Pool, slot: number, room: typeof POOL.HEADER_ROOM): number =>
  slot * pool.stride + room;
