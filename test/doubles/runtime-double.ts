// A stand-in for the runtime's control side, so that clients can be tested against each other over real sockets and real
// shared memory: sessions and direct links, in order, without engine, policy or supervision.
import { platform } from "../../src/native/platform.ts";
import { type Mapping, mapSegment, type Waker, wakeOnReadable } from "../../src/native/views.ts";
import { LINK, linkBytes } from "../../src/protocol/layout.ts";
import { DoubleSession, type Member } from "./session-double.ts";

interface DoubleLink {
  readonly producer: Member;
  readonly consumer: Member;
  readonly producerIndex: number;
  readonly consumerIndex: number;
  readonly channels: Map<number, number>;
  readonly segment: Mapping;
  ready: Promise<unknown>;
}
export interface DoubleOptions {
  readonly entries?: number;
  /** Slots of the class for messages beyond 64 KiB. */
  readonly largeSlots?: number;
  /** Slots of every class, instead of the layout's. */
  readonly slots?: number;
}

export class RuntimeDouble {
  readonly sessions = new Map<number, DoubleSession>();
  readonly links: DoubleLink[] = [];
  /** What applications complained of. */
  readonly faults: Array<{ readonly session: number; readonly what: string }> = [];
  readonly options: DoubleOptions;
  nextId = 1;
  closed = false;
  private readonly listener: number;
  private readonly waker: Waker;

  constructor(path: string, options: DoubleOptions = {}) {
    this.options = options;
    this.listener = platform().socketListen(path, 0o600);
    this.waker = wakeOnReadable(this.listener, () => {
      for (
        let fd = platform().raw.socketAccept(this.listener);
        fd >= 0;
        fd = platform().raw.socketAccept(this.listener)
      ) {
        const session = new DoubleSession(this, fd, this.nextId++);
        this.sessions.set(session.id, session);
      }
    });
  }

  members(): Member[] {
    return [...this.sessions.values()].flatMap((session) => [...session.members.values()]);
  }

  /** Brings the links of a stream in step with its sources and sinks; resolves when both ends know. */
  connect(stream: string): Promise<void> {
    const next = (this.busy.get(stream) ?? Promise.resolve()).then(() => this.step(stream));
    this.busy.set(
      stream,
      next.catch(() => {}),
    );
    return next;
  }
  private readonly busy = new Map<string, Promise<void>>();

  private async step(stream: string): Promise<void> {
    const members = this.members().filter((member) => member.name === stream);
    for (const producer of members) {
      for (const consumer of members) {
        const offered = new Set([...producer.sources.values()].map(({ channel }) => channel));
        const wanted = new Set(
          [...consumer.sinks.values()].map(({ channel }) => channel).filter((c) => offered.has(c)),
        );
        const link = this.links.find((link) => link.producer === producer && link.consumer === consumer);
        if (link === undefined && wanted.size > 0) await this.open(producer, consumer, wanted);
        else if (link !== undefined && wanted.size > 0) {
          for (const channel of wanted) if (!link.channels.has(channel)) link.channels.set(channel, link.channels.size);
          await link.ready;
          await this.tell(link, wanted);
        } else if (link !== undefined) await this.shut(link, "nobody needs it");
      }
    }
  }

  private tables(
    producer: Member,
    consumer: Member,
    indices: ReadonlyMap<number, number>,
    wanted: ReadonlySet<number>,
  ) {
    const policies = (channel: number) =>
      [...consumer.sinks.values()].filter((sink) => sink.channel === channel).map(({ policy }) => policy);
    return {
      channels: [...wanted].map((channel) => ({
        index: indices.get(channel),
        channel,
        block: policies(channel).some(({ kind }) => kind === "block"),
        policies: policies(channel),
      })),
      sources: [...producer.sources].map(([source, { index, channel }]) => ({ source, index, channel })),
    };
  }

  private async open(producer: Member, consumer: Member, wanted: ReadonlySet<number>): Promise<void> {
    const entries = this.options.entries ?? LINK.DEFAULT_ENTRIES;
    const bytes = linkBytes(entries);
    const fd = platform().segmentCreate("link", bytes);
    const segment = mapSegment(fd, bytes, true);
    platform().segmentSeal(fd);
    const bells = platform().bellPair();
    const channels = new Map([...wanted].map((channel, index) => [channel, index]));
    const link: DoubleLink = {
      producer,
      consumer,
      producerIndex: producer.session.nextLink++,
      consumerIndex: consumer.session.nextLink++,
      channels,
      segment,
      ready: Promise.resolve(),
    };
    this.links.push(link);
    const common = {
      kind: "direct",
      entries,
      bytes,
      pools: producer.pools,
      ...this.tables(producer, consumer, channels, wanted),
    };
    const open = async () => {
      await consumer.session.request(
        "link.open",
        { ...common, link: link.consumerIndex, role: "consumer", stream: consumer.id, peer: producer.session.peer },
        [fd, bells[1], producer.session.parkedFd, ...producer.poolFds],
      );
      await producer.session.request(
        "link.open",
        { ...common, link: link.producerIndex, role: "producer", stream: producer.id, peer: consumer.session.peer },
        [fd, bells[0], consumer.session.parkedFd],
      );
    };
    link.ready = open().finally(() => {
      for (const used of [fd, ...bells]) platform().fdClose(used);
    });
    await link.ready;
  }

  private async tell(link: DoubleLink, wanted: ReadonlySet<number>): Promise<void> {
    const tables = this.tables(link.producer, link.consumer, link.channels, wanted);
    await link.consumer.session.request("link.update", { link: link.consumerIndex, ...tables });
    await link.producer.session.request("link.update", { link: link.producerIndex, ...tables });
  }

  async shut(link: DoubleLink, reason: string): Promise<void> {
    this.links.splice(this.links.indexOf(link), 1);
    const close = (session: DoubleSession, index: number, mode: "drain" | "abandon") =>
      session.gone ? Promise.resolve() : session.request("link.close", { link: index, mode, reason }).catch(() => {});
    const { producer, consumer } = link;
    if (producer.session.gone || !consumer.session.gone) {
      const mode = consumer.session.gone ? "abandon" : "drain";
      const late = new Promise((resolve) => setTimeout(resolve, 1000, "late").unref());
      const both = Promise.all([
        close(producer.session, link.producerIndex, mode),
        close(consumer.session, link.consumerIndex, "drain"),
      ]);
      if ((await Promise.race([both, late])) === "late") {
        await close(consumer.session, link.consumerIndex, "abandon");
        await close(producer.session, link.producerIndex, "abandon");
      }
    } else await close(producer.session, link.producerIndex, "abandon");
    link.segment.unmap();
  }

  /** As if it had died: it hangs up on everybody and says nothing. A second call does nothing. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.waker.close();
    platform().fdClose(this.listener);
    for (const session of this.sessions.values()) session.end();
    for (const link of this.links) link.segment.unmap();
  }
}
