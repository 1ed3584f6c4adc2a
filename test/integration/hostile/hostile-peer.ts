// A host that is listed as a peer and keeps to nothing: hello frames and data of any content, from sockets of its own.
import { createSocket, type Socket } from "node:dgram";
import { readFileSync } from "node:fs";
import { decodeHello, encodeHello, type Hello, type HelloPage, paginate } from "../../../src/protocol/hello.ts";
import { HEARTBEAT, WIRE, WIRE_TYPE } from "../../../src/protocol/wire.ts";

export interface Datagram {
  readonly type?: number;
  readonly tag?: number;
  readonly channel?: number;
  readonly source?: number;
  readonly flow?: number;
  readonly sequence?: bigint;
  readonly body?: Uint8Array;
  /** As the header says it; default the truth. */
  readonly length?: number;
}

export interface Beat {
  readonly flow: number;
  readonly tag: number;
  readonly channel: number;
  readonly source: number;
  readonly next: bigint;
}

/** A wire v1 datagram, written here by hand. */
export function datagram(of: Datagram): Uint8Array {
  const body = of.body ?? new Uint8Array(0);
  const bytes = new Uint8Array(WIRE.HEADER + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(WIRE.MAGIC, WIRE.MAGIC_VALUE);
  view.setUint8(WIRE.VERSION, WIRE.VERSION_VALUE);
  view.setUint8(WIRE.TYPE, of.type ?? WIRE_TYPE.DATA);
  view.setUint32(WIRE.TAG, of.tag ?? 0);
  view.setUint32(WIRE.CHANNEL, of.channel ?? 0);
  view.setUint32(WIRE.SOURCE, of.source ?? 1);
  view.setUint32(WIRE.FLOW, of.flow ?? 0);
  view.setBigUint64(WIRE.SEQUENCE, of.sequence ?? 0n);
  view.setUint32(WIRE.LENGTH, of.length ?? body.length);
  bytes.set(body, WIRE.HEADER);
  return bytes;
}

export function heartbeat(beats: ReadonlyArray<Beat>): Uint8Array {
  const body = new Uint8Array(beats.length * HEARTBEAT.RECORD_BYTES);
  const view = new DataView(body.buffer);
  beats.forEach((beat, i) => {
    const at = i * HEARTBEAT.RECORD_BYTES;
    view.setUint32(at + HEARTBEAT.FLOW, beat.flow);
    view.setUint32(at + HEARTBEAT.TAG, beat.tag);
    view.setUint32(at + HEARTBEAT.CHANNEL, beat.channel);
    view.setUint32(at + HEARTBEAT.SOURCE, beat.source);
    view.setBigUint64(at + HEARTBEAT.NEXT, beat.next);
  });
  return datagram({ type: WIRE_TYPE.HEARTBEAT, body });
}

export type Streams = HelloPage["streams"];

export class HostilePeer implements AsyncDisposable {
  /** Hellos that came, in order. */
  readonly heard: Hello[] = [];
  /** Datagrams that came to its data endpoint, but for heartbeats, which every peer gets. */
  /** At its data endpoint, but for heartbeats, which every peer gets. */
  readonly received: Buffer[] = [];
  readonly #hello: Socket;
  readonly #data: Socket;
  readonly #target: { readonly hello: number; readonly data: number };
  id = `mallory-${Math.random().toString(36).slice(2)}`;
  version = 0;
  #pages: ReadonlyArray<HelloPage> = [];
  #sequence = 0n;
  readonly #beat: NodeJS.Timeout;

  private constructor(hello: Socket, data: Socket, target: { hello: number; data: number }) {
    this.#hello = hello;
    this.#data = data;
    this.#target = target;
    hello.on("message", (bytes) => {
      const { hello: frame } = decodeHello(bytes);
      if (frame) this.heard.push(frame);
    });
    data.on("message", (bytes) => {
      if (bytes[WIRE.TYPE] !== WIRE_TYPE.HEARTBEAT) this.received.push(bytes);
    });
    // Stays alive as a good one would, once it has announced something.
    this.#beat = setInterval(() => this.version > 0 && this.#goOn(), 100);
  }

  /** Bound to a hello port that the target lists; speaks to the target's hello and data endpoints. */
  static async start(port: number, target: { readonly hello: number; readonly data: number }): Promise<HostilePeer> {
    return new HostilePeer(await bound(port), await bound(0), target);
  }

  get dataPort(): number {
    return this.#data.address().port;
  }

  /** Sends one hello frame. */
  hello(page: HelloPage | null, over: Partial<Hello> = {}): void {
    const last = this.heard.at(-1);
    this.raw(
      encodeHello(
        {
          id: this.id,
          name: "mallory",
          version: this.version,
          pages: Math.max(1, this.#pages.length),
          seen: last ? { id: last.id, version: last.version, missing: [] } : null,
          page,
          bye: false,
          ...over,
        },
        this.#sequence++,
        BigInt(Date.now()) * 1_000_000n,
      ),
    );
  }

  /** Announces streams and an endpoint, in as many pages as it takes, some at a time. */
  async announce(
    streams: Streams,
    endpoint = { address: "127.0.0.1", port: this.dataPort },
    names: HelloPage["names"] = [],
  ): Promise<void> {
    this.#pages = paginate({
      endpoints: [{ lane: "udp", mtu: 65535, ...endpoint }],
      technologies: ["udp"],
      streams,
      names,
    }).pages;
    this.version++;
    for (const [i, page] of this.#pages.entries()) {
      this.hello(page);
      if (i % 32 === 31) await new Promise((resolve) => setTimeout(resolve, 4));
    }
  }

  /** Another hello; and pages that were lost on the way, as the target asks for them. */
  #goOn(): void {
    this.hello(null);
    const seen = this.heard.at(-1)?.seen;
    if (seen?.id !== this.id || seen.version !== this.version) return;
    for (const index of seen.missing.slice(0, 32)) {
      const page = this.#pages[index];
      if (page) this.hello(page);
    }
  }

  /** Says farewell. */
  bye(): void {
    this.hello(null, { bye: true, version: Math.max(1, this.version) });
    this.version = 0;
  }

  /** To the target's hello endpoint, as it is. */
  raw(bytes: Uint8Array): void {
    this.#hello.send(bytes, this.#target.hello, "127.0.0.1");
  }
  /** To the target's data endpoint, from the endpoint announced. */
  data(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#data.send(bytes, this.#target.data, "127.0.0.1", () => resolve()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#beat);
    if (this.version > 0) this.bye();
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([this.#hello, this.#data].map((socket) => new Promise<void>((done) => socket.close(done))));
  }
}

export function bound(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket("udp4");
    socket.once("error", reject);
    socket.bind(port, "127.0.0.1", () => resolve(socket));
  });
}

/** UDP ports that are free now, and that the kernel gives to nobody who asks for any: they are still free later. */
export async function freePorts(count: number): Promise<number[]> {
  const [ephemeral = 32768] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split("\t").map(Number);
  const first = 10_000;
  const ports = new Set<number>();
  for (let tries = 0; ports.size < count; tries++) {
    if (tries > 1000) throw new Error(`no UDP ports are free from ${first} to ${ephemeral}`);
    const port = first + Math.floor(Math.random() * Math.max(1, ephemeral - first));
    const socket = await bound(port).catch(() => null);
    if (socket === null) continue;
    ports.add(port);
    await new Promise<void>((done) => socket.close(done));
  }
  return [...ports];
}
