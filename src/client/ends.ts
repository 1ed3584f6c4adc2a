// The links of a session as the runtime opens, changes and closes them: maps what it is given, keeps the tables of sources
// and sinks in step, and answers when a link has drained.
import type { Platform } from "../native/platform.ts";
import { type Mapping, mapStranger } from "../native/views.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { Params, RuntimeMethodTable } from "../protocol/control.ts";
import { linkBytes, PARKED_PAGE } from "../protocol/layout.ts";
import { ConsumerEnd, type ConsumerHost } from "./consumer-end.ts";
import type { RuntimeRequest } from "./control.ts";
import { Doorbell } from "./doorbell.ts";
import { PoolView } from "./message.ts";
import type { StreamPools } from "./pools.ts";
import { ProducerEnd } from "./producer-end.ts";
import type { Pump } from "./pump.ts";
import type { Sleeper } from "./sleeper.ts";
import { Target } from "./target.ts";

type OpenParams = Params<RuntimeMethodTable, "link.open">;
type PoolsParams = Params<RuntimeMethodTable, "link.pools">;
type UpdateParams = Params<RuntimeMethodTable, "link.update">;
type CloseParams = Params<RuntimeMethodTable, "link.close">;

/** What the links ask of their session. */
export interface EndsHost {
  readonly platform: Platform;
  readonly pump: Pump;
  readonly sleeper: Sleeper;
  poolsOf(stream: number): StreamPools | undefined;
  notify(method: "link.fault", params: { link: number; what: string }): void;
}

export class Ends implements ConsumerHost {
  private readonly host: EndsHost;
  /** Links that are asked to drain, and the requests to be answered then. */
  private readonly draining = new Map<ProducerEnd | ConsumerEnd, RuntimeRequest[]>();

  constructor(host: EndsHost) {
    this.host = host;
    host.pump.drained = () => this.lookAtDrains();
  }

  get clock() {
    return this.host.pump.clock;
  }

  open(request: RuntimeRequest): void {
    const params = request.params as OpenParams;
    const { fds } = request;
    const { platform, pump, sleeper } = this.host;
    const mappings: Mapping[] = [];
    let bell = -1;
    try {
      const expected = 3 + (params.role === "consumer" ? params.pools.length : 0);
      if (fds.length !== expected) {
        throw new InsaneError("ESCHEMA", `link.open came with ${fds.length} descriptors; ${expected} belong to it.`);
      }
      if (params.bytes !== linkBytes(params.entries)) {
        throw new InsaneError(
          "ESCHEMA",
          `A link of ${params.entries} entries has ${linkBytes(params.entries)} bytes, not ${params.bytes}.`,
        );
      }
      const map = (fd: number, bytes: number, writable: boolean): Mapping => {
        const mapping = mapStranger(fd, bytes, writable);
        mappings.push(mapping);
        return mapping;
      };
      const rings = map(fds[0] as number, params.bytes, true);
      const parked = map(fds[2] as number, PARKED_PAGE.BYTES, false);
      bell = fds[1] as number;
      const doorbell = new Doorbell(platform, bell, parked);
      const init = {
        id: params.link,
        kind: params.kind,
        stream: params.stream,
        peer: params.peer,
        entries: params.entries,
        pollsEngine: this.host.pump.pollsEngine,
      };
      if (params.role === "producer") {
        const pools = this.host.poolsOf(params.stream);
        if (pools === undefined)
          throw new InsaneError("ENOENT", `Stream ${params.stream} has no pools in this session.`);
        const end = new ProducerEnd(init, rings, doorbell, pools, (end, what) => this.producerFaulted(end, what));
        sleeper.addBell(bell);
        const before = pump.producers.find(({ id, stream }) => id === params.replaces && stream === params.stream);
        if (before !== undefined) end.takeOver(before);
        pump.producers.push(end);
        this.setTables(end, params);
      } else {
        const views: PoolView[] = [];
        params.pools.forEach((pool, i) => {
          const mapping = map(fds[3 + i] as number, pool.bytes, false);
          views[pool.pool] = new PoolView(mapping.buffer, mapping);
        });
        const end = new ConsumerEnd(init, rings, views, doorbell, this);
        sleeper.addBell(bell);
        setSources(end, params.sources);
        end.route(params.channels, pump.sinks);
        pump.consumers.push(end);
        this.shareOut();
        pump.needWake();
      }
    } catch (error) {
      for (const mapping of mappings) mapping.unmap();
      if (bell >= 0) platform.raw.fdClose(bell);
      throw error;
    } finally {
      // Mapped or refused: only the bell stays open.
      for (const fd of fds) if (fd !== bell) platform.raw.fdClose(fd);
    }
    request.answer({});
  }

  update(request: RuntimeRequest): void {
    const { link, channels, sources } = request.params as UpdateParams;
    const { pump } = this.host;
    const producer = pump.producers.find((end) => end.id === link);
    const consumer = pump.consumers.find((end) => end.id === link);
    if (producer === undefined && consumer === undefined) throw unknown(link);
    if (producer !== undefined) {
      // What was pushed under the old table leaves before the answer.
      producer.publish();
      this.setTables(producer, { channels, sources });
    }
    if (consumer !== undefined) {
      setSources(consumer, sources);
      consumer.route(channels, pump.sinks);
      this.shareOut();
    }
    request.answer({});
  }

  addPools(request: RuntimeRequest): void {
    const { link, pools } = request.params as PoolsParams;
    const { fds } = request;
    const { platform, pump } = this.host;
    try {
      const consumer = pump.consumers.find((end) => end.id === link);
      if (consumer === undefined) throw unknown(link);
      if (fds.length !== pools.length) {
        throw new InsaneError(
          "ESCHEMA",
          `link.pools names ${pools.length} pools and came with ${fds.length} descriptors.`,
        );
      }
      pools.forEach(({ pool, bytes }, i) => {
        const mapping = mapStranger(fds[i] as number, bytes, false);
        consumer.addPool(pool, new PoolView(mapping.buffer, mapping));
      });
    } finally {
      for (const fd of fds) platform.raw.fdClose(fd);
    }
    request.answer({});
  }

  close(request: RuntimeRequest): void {
    const { link, mode } = request.params as CloseParams;
    const { pump } = this.host;
    const end = pump.producers.find((end) => end.id === link) ?? pump.consumers.find((end) => end.id === link);
    if (end === undefined) throw unknown(link);
    const requests = this.draining.get(end) ?? [];
    requests.push(request);
    this.draining.set(end, requests);
    this.host.pump.draining = true;
    if (mode === "abandon") {
      if (end instanceof ProducerEnd) this.finishProducer(end);
      else this.finishConsumer(end, true);
      return;
    }
    if (requests.length === 1) {
      if (end instanceof ProducerEnd) {
        end.state = "draining";
        end.publish();
        pump.awaitCredits(1);
        this.retarget(end.stream);
      } else pump.awaitMessages(1);
    }
    this.lookAtDrains();
  }

  /** Targets of every source on a stream. */
  retarget(stream: number): void {
    for (const source of this.host.pump.sources)
      if (source.stream === stream) source.retarget(this.targets(stream, source.channel, source.id));
  }

  targets(stream: number, channel: number, source: number): Target[] {
    const targets: Target[] = [];
    for (const end of this.host.pump.producers) {
      // One whose consumer does not know the source yet: it would take its messages for lies.
      if (end.stream !== stream || end.state !== "open" || !end.sources.has(source)) continue;
      const row = end.channels.get(channel);
      if (row !== undefined) targets.push(new Target(end, row));
    }
    return targets;
  }

  /** Sinks came or went. */
  reroute(): void {
    const { pump } = this.host;
    for (const end of pump.consumers) end.reroute(pump.sinks);
    this.shareOut();
  }

  /** What each sink that may go without a message can hold of a crowded link. */
  private shareOut(): void {
    const { consumers, sinks } = this.host.pump;
    const counts = new Map<number, number>();
    for (const { stream } of sinks) counts.set(stream, (counts.get(stream) ?? 0) + 1);
    const least = new Map<number, number>();
    for (const { stream, crowdedShare } of consumers)
      least.set(stream, Math.min(least.get(stream) ?? crowdedShare, crowdedShare));
    for (const sink of sinks) {
      const count = counts.get(sink.stream) ?? 1;
      const share = least.get(sink.stream) ?? Number.POSITIVE_INFINITY;
      const { kind } = sink.policy;
      const shares = kind === "keep-last" || (kind === "drop-newest" && count > 1);
      sink.sharesLinks(shares ? Math.max(1, Math.floor(share / count)) : Number.POSITIVE_INFINITY);
    }
  }

  /** The runtime is gone, and its engine with it: nobody serves these links any more. */
  dropEngineLinks(): void {
    const { pump } = this.host;
    for (const end of [...pump.producers]) if (end.kind === "egress") this.finishProducer(end);
    for (const end of [...pump.consumers]) if (end.kind === "ingress") this.finishConsumer(end, true);
  }

  /** The session ends: everything is let go; what the application still holds is unmapped when it releases it. */
  closeAll(): void {
    const { pump } = this.host;
    for (const end of [...pump.producers]) this.finishProducer(end);
    for (const end of [...pump.consumers]) this.finishConsumer(end, true);
  }

  private lookAtDrains(): void {
    if (this.draining.size === 0) return;
    for (const end of [...this.draining.keys()]) {
      if (end instanceof ProducerEnd) {
        end.reclaim();
        if (end.link.live === 0 && end.state !== "closed") this.finishProducer(end);
      } else if (end.idle) this.finishConsumer(end, false);
    }
  }

  private finishProducer(end: ProducerEnd): void {
    const { pump, sleeper } = this.host;
    const wasOpen = end.state !== "closed";
    if (wasOpen) {
      end.publish();
      end.reclaim();
    }
    sleeper.removeBell(end.doorbell.fd);
    const abandoned = end.abandon();
    remove(pump.producers, end);
    if (this.settle(end, abandoned)) pump.awaitCredits(-1);
    this.retarget(end.stream);
    for (const source of pump.sources) if (source.stream === end.stream) source.turned();
  }

  private finishConsumer(end: ConsumerEnd, memoryMayChange: boolean): void {
    const { pump, sleeper } = this.host;
    if (memoryMayChange) end.keepCopies();
    sleeper.removeBell(end.doorbell.fd);
    end.close();
    remove(pump.consumers, end);
    if (this.settle(end, 0)) pump.awaitMessages(-1);
  }

  /** Answers whoever asked for the end. Whether a drain was under way. */
  private settle(end: ProducerEnd | ConsumerEnd, abandoned: number): boolean {
    const requests = this.draining.get(end);
    if (requests === undefined) return false;
    this.draining.delete(end);
    this.host.pump.draining = this.draining.size > 0;
    for (const request of requests) request.answer({ abandoned });
    return requests.some(({ params }) => (params as CloseParams).mode === "drain");
  }

  private setTables(end: ProducerEnd, { channels, sources }: Pick<UpdateParams, "channels" | "sources">): void {
    end.channels = new Map(channels.map((row) => [row.channel, row]));
    end.sources = new Set(sources.map(({ source }) => source));
    this.retarget(end.stream);
  }

  private producerFaulted(end: ProducerEnd, what: string): void {
    this.host.notify("link.fault", { link: end.id, what });
    this.finishProducer(end);
  }

  // ConsumerHost.
  faulted(end: ConsumerEnd, what: string): void {
    this.host.notify("link.fault", { link: end.id, what });
  }
  beside(end: ConsumerEnd): ConsumerEnd[] {
    const { consumers } = this.host.pump;
    return consumers.filter((one) => one !== end && one.kind === "ingress" && one.stream === end.stream);
  }

  returnsWaiting(end: ConsumerEnd): void {
    this.host.pump.returnsGiven(end);
  }
  emptied(): void {
    // Its mappings are gone with its last message; nothing else is kept of it.
  }
}

function setSources(end: ConsumerEnd, rows: UpdateParams["sources"]): void {
  // Rows that are gone stay: messages of theirs may still be under way.
  for (const { index, source } of rows) end.sourceIds[index] = source;
}

function remove<T>(list: T[], item: T): void {
  const index = list.indexOf(item);
  if (index >= 0) list.splice(index, 1);
}

const unknown = (link: number): InsaneError => new InsaneError("ENOENT", `This session has no link ${link}.`, { link });
