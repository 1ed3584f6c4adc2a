// What `insane status`, `top` and `explain` show, taken from the actors as they are at this moment. Reads only; counters
// that applications write are shown as they are and never used for a decision.
import type { EngineActor } from "../actors/engine.ts";
import type { Host } from "../actors/host.ts";
import type { LinkActor } from "../actors/link.ts";
import type { SessionActor } from "../actors/session.ts";
import type { StreamActor } from "../actors/stream.ts";
import type { DecisionRecord } from "../protocol/control.ts";
import { type Lane, technologyOf } from "../protocol/lanes.ts";
import { SINK_STATS, SOURCE_STATS } from "../protocol/layout.ts";
import { streamTag } from "../protocol/qos.ts";
import type { EndpointReport, ExplainReport, StatusReport, ThreadMoveReport, ThreadReport } from "./api.ts";
import type { PeerInfo, PeerReport } from "./directory.ts";
import { identityText } from "./trust.ts";

/** The parts of a runtime that a report is made of. */
export interface Reported {
  readonly host: Host;
  readonly state: string;
  readonly startedAt: number;
  readonly sessions: ReadonlyArray<SessionActor>;
  readonly engines: ReadonlyArray<EngineActor>;
  readonly peers: ReadonlyArray<PeerReport>;
  readonly alive: ReadonlyArray<PeerInfo>;
  readonly quarantined: number;
  readonly threads: ReadonlyArray<ThreadReport>;
  readonly threadMoves: ReadonlyArray<ThreadMoveReport>;
}

const labels = (names: Readonly<Record<string, number>>): ReadonlyArray<readonly [string, number]> =>
  Object.entries(names).map(([name, index]) => [camel(name), index] as const);
const camel = (name: string): string => name.toLowerCase().replace(/_(.)/g, (_, letter) => letter.toUpperCase());
const SOURCE_LABELS = labels(SOURCE_STATS);
const SINK_LABELS = labels(SINK_STATS);

export function statusReport(of: Reported): StatusReport {
  const { host } = of;
  const sessions = of.sessions.filter(({ role, attached }) => role === "application" && attached);
  const links = host.broker.links;
  return {
    runtime: {
      ...host.identity,
      state: of.state,
      uptimeMs: Math.round(host.world.clock.now() - of.startedAt),
      epoch: host.epoch,
    },
    sessions: sessions.map((session) => ({
      id: session.id,
      name: session.name,
      pid: session.who.pid,
      uid: session.who.uid,
      state: session.state,
      streams: [...session.streams.values()].map((stream) => ({
        id: stream.id,
        name: stream.name,
        state: stream.state,
        datapath: stream.decision?.datapath ?? null,
        moves: stream.moved,
        moveCosts: { ...stream.moveCosts },
        sources: [...stream.sources.values()].map((source) => endpoint(session, source, SOURCE_LABELS)),
        sinks: [...stream.sinks.values()].map((sink) => endpoint(session, sink, SINK_LABELS)),
      })),
    })),
    links: links.map((link) => ({
      id: link.spec.id,
      kind: link.spec.kind,
      state: link.state,
      producer: link.spec.producer.label,
      consumer: link.spec.consumer.label,
      entries: link.spec.entries,
      outstanding: link.outstanding,
    })),
    engines: of.engines.map((engine) => ({
      name: engine.life.name,
      state: engine.state,
      mode: engine.mode,
      pid: engine.resource?.pid ?? null,
      counters: engine.counters,
    })),
    threads: of.threads,
    threadMoves: of.threadMoves,
    datapaths: of.engines.flatMap((engine) =>
      [...engine.datapaths.values()].map((datapath) => ({
        lane: datapath.lane,
        emulated: datapath.emulated,
        state: datapath.state,
        endpoint: datapath.endpoint ? `${datapath.endpoint.address}:${datapath.endpoint.port}` : "",
        counters: datapath.counters(),
      })),
    ),
    peers: of.peers.map(({ id, name, endpoint, state, subscriptions, lastHeardMs }) => ({
      id,
      name,
      endpoint,
      state,
      subscriptions,
      lastHeardMs,
    })),
    slots: {
      total: slots(sessions, of.engines),
      outstanding: links.reduce((sum, link) => sum + link.outstanding, 0),
    },
    quarantined: of.quarantined,
  };
}

/** Why each stream (or the one named) is bound as it is, and what carries it now. */
export function explainReport(of: Reported, name?: string): ExplainReport[] {
  const members = new Map<string, Array<{ session: SessionActor; stream: StreamActor }>>();
  for (const session of of.sessions) {
    for (const stream of session.streams.values()) {
      if (!stream.decision || (name !== undefined && stream.name !== name)) continue;
      const list = members.get(stream.name) ?? [];
      list.push({ session, stream });
      members.set(stream.name, list);
    }
  }
  return [...members].map(([stream, list]) => {
    const decision = list[0]?.stream.decision;
    if (!decision) throw new Error(`stream ${stream} has no decision`);
    const thread = of.threads.find(({ engines }) => engines.some((one) => one === decision.datapath)) ?? null;
    const carriers = of.host.broker.links.filter((link) => link.spec.stream === stream);
    return {
      stream,
      tag: streamTag(stream),
      sessions: list.map(({ session }) => ({
        session: session.id,
        name: session.name,
        domain: session.domain?.label ?? identityText(session.who),
        copies: session.domain !== null,
      })),
      decision,
      moves: list.flatMap(({ session, stream: { moves } }) => moves.map((move) => ({ session: session.id, ...move }))),
      moved: list.map(({ session, stream: { moved, moveCosts } }) => ({
        session: session.id,
        times: moved,
        ...moveCosts,
      })),
      schedule: of.host.gates.report(decision),
      thread,
      receivers: of.threads.filter(
        (one) => one !== thread && one.engines.some((lane) => isOver(lane, decision.datapath)),
      ),
      links: carriers.map(explainLink),
      peers: explainPeers(of, stream, decision.datapath),
    };
  });
}

const isOver = (lane: Lane, datapath: DecisionRecord["datapath"]): boolean => technologyOf(lane) === datapath;

function explainLink(link: LinkActor): ExplainReport["links"][number] {
  const { kind, producer, consumer, lane } = link.spec;
  return {
    kind,
    lane,
    producer: producer.label,
    consumer: consumer.label,
    outstanding: link.outstanding,
    latency: kind === "egress" ? (consumer.latency?.(link.spec.id) ?? null) : null,
  };
}

/** Each peer that wants the stream, once for each of its endpoints that it wants it at. */
function explainPeers(of: Reported, stream: string, network: DecisionRecord["datapath"]): ExplainReport["peers"] {
  if (network === null || network === "shm") return [];
  const here = of.engines.map((engine) => engine.datapaths.get(network)?.endpoint).find((at) => at);
  return of.alive.flatMap((info) => {
    // RDMA is answered by RDMA only.
    const wanted = info.subscriptions.filter(
      (subscription) => subscription.stream === stream && (subscription.lane === "rdma") === (network === "rdma"),
    );
    return [...new Set(wanted.map(({ lane }) => lane))].map((thereLane) => {
      const there = info.endpoints.find(({ lane }) => lane === thereLane);
      return {
        name: info.name,
        state: of.peers.find(({ peer }) => peer === info.peer)?.state ?? "alive",
        technology: network,
        here: here ? `${here.address}:${here.port}` : "",
        thereLane,
        there: there ? `${there.address}:${there.port}` : "",
        trains: there?.trains ?? true,
      };
    });
  });
}

function endpoint(
  session: SessionActor,
  of: {
    readonly spec: { readonly id: number; readonly channel: number; readonly stats: number };
    readonly state: string;
  },
  names: ReadonlyArray<readonly [string, number]>,
): EndpointReport {
  const { id, channel, stats } = of.spec;
  const block = session.pages?.stats64(stats);
  return {
    id,
    channel,
    state: of.state,
    stats: Object.fromEntries(names.map(([label, index]) => [label, block?.[index] ?? 0])),
  };
}

function slots(sessions: ReadonlyArray<SessionActor>, engines: ReadonlyArray<EngineActor>): number {
  const pools = sessions.flatMap((session) =>
    [...session.streams.values()].flatMap((stream) => stream.pools?.infos ?? []),
  );
  const received = engines.flatMap((engine) => (engine.resource ? [engine.resource.receivePool.info] : []));
  return [...pools, ...received].reduce((sum, info) => sum + info.slots, 0);
}
