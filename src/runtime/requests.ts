// What a session may ask of the runtime, method by method. Parameters are checked before they come here; an InsaneError
// thrown here is the answer. State is kept by the actors, never here.
import type { Host } from "../actors/host.ts";
import type { Reply } from "../actors/rpc-channel.ts";
import type { SessionActor } from "../actors/session.ts";
import type { StreamActor } from "../actors/stream.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { ClientMethodName, ClientMethodTable, Params, Result } from "../protocol/control.ts";
import { linkBytes } from "../protocol/layout.ts";
import { batches, defaultStreamName } from "../protocol/qos.ts";
import type { ClientNotification } from "./contract.ts";
import { answerPart } from "./long-answers.ts";
import type { PlannedMember } from "./plan.ts";

type Answer<M extends ClientMethodName> = Reply<Result<ClientMethodTable, M>>;
type Handler<M extends ClientMethodName> = (
  host: Host,
  session: SessionActor,
  params: Params<ClientMethodTable, M>,
) => Answer<M> | Promise<Answer<M>>;

/** What ends a session's watch. */
const watches = new WeakMap<SessionActor, () => void>();
const namesWatches = new WeakMap<SessionActor, () => void>();
/** Links of which a fault was reported: there is nothing more to be said of them. */
const faulted = new WeakSet<object>();

const handlers: { readonly [M in ClientMethodName]: Handler<M> } = {
  hello: (_, session, params) => session.hello(params),

  "session.mapped": (_, session) => {
    session.pagesMapped();
    return { result: {} };
  },

  "stream.open": async (_, session, { name, qos }) => {
    const wanted = name ?? defaultStreamName(qos);
    let stream = session.streamNamed(wanted);
    // One of this name that is on its way out is not the one that is asked for.
    for (; stream?.closing; stream = session.streamNamed(wanted)) await stream.life.ended;
    if (stream) {
      const { qos: now, openedAs } = stream;
      const same = [now, openedAs].some(
        (of) =>
          (["acceleration", "consumption", "timeSensitivity", "maxMessage", "trafficClass"] as const).every(
            (key) => of[key] === qos[key],
          ) && batches(of) === batches(qos),
      );
      if (!same) {
        throw new InsaneError(
          "ECOLLISION",
          `This session has stream ${wanted} open with another quality (${JSON.stringify(stream.qos)}); use that, close it, or take another name.`,
          { stream: wanted, qos: stream.qos },
        );
      }
      stream.handles++;
    } else stream = session.addStream(wanted, qos);
    const decision = await stream.bound;
    return { result: { stream: stream.id, name: stream.name, tag: stream.tag, decision } };
  },

  "stream.setQos": async (_, session, { stream, qos }) => ({
    result: { decision: await openStreamOf(session, stream).rebind("qos", qos) },
  }),

  "stream.rebind": async (host, asks, { session: id, stream: name, technology, ...change }) => {
    const session = host.session(id);
    if (!session) throw noSuch("session", id);
    if (!mayMove(asks, session)) {
      throw new InsaneError("EPERM", `${session.label} is another user's: its streams are not yours to move.`);
    }
    const stream = session.streamNamed(name);
    if (!stream) throw noSuch("stream", name);
    const changed = Object.keys(change).length > 0;
    const forced = technology === "auto" ? null : technology;
    const decision = await stream.rebind(changed ? "qos" : "requested", { ...stream.qos, ...change }, forced);
    return { result: { decision } };
  },

  "stream.close": async (_, session, params) => {
    const stream = streamOf(session, params.stream);
    if (--stream.handles <= 0) {
      stream.close();
      await stream.life.ended;
    }
    return { result: {} };
  },

  "pool.open": (_, session, params) => {
    const pools = openStreamOf(session, params.stream).openPools();
    return { result: { pools: pools.infos }, fds: pools.segments.map(({ fd }) => fd) };
  },

  "pool.mapped": (_, session, params) => {
    streamOf(session, params.stream).poolsMapped();
    return { result: {} };
  },

  "source.open": async (host, session, { stream: id, channel, name }) => {
    const stream = openStreamOf(session, id);
    const member = stream.member;
    const sources = [...member.sources, { id: 0, index: 0, channel }];
    const release = reserveLinks(host, session, { ...member, sources }, `a source of channel ${channel}`);
    const source = held(release, () => stream.addSource(channel, name));
    source.life.onEnd(release);
    if (!(await source.opened)) throw closedMeanwhile("source", channel, source.life.outcome?.notice?.message);
    const { id: number, index, stats } = source.spec;
    return { result: { source: number, index, stats } };
  },

  "source.close": async (_, session, params) => {
    const source = find(session, "sources", params.source, "source");
    source.close();
    await source.life.ended;
    return { result: {} };
  },

  "sink.open": async (host, session, { stream: id, channel, policy, name }) => {
    const stream = openStreamOf(session, id);
    const member = stream.member;
    const sinks = [...member.sinks, { channel, block: policy.kind === "block", policy }];
    const release = reserveLinks(host, session, { ...member, sinks }, `a sink of channel ${channel}`);
    const sink = held(release, () => stream.addSink(channel, policy, name));
    sink.life.onEnd(release);
    const unconfirmed = await sink.opened;
    if (!unconfirmed) throw closedMeanwhile("sink", channel, sink.life.outcome?.notice?.message);
    return { result: { sink: sink.spec.id, stats: sink.spec.stats, unconfirmed } };
  },

  "sink.close": async (_, session, params) => {
    const sink = find(session, "sinks", params.sink, "sink");
    sink.close();
    await sink.life.ended;
    return { result: {} };
  },

  "session.close": async (_, session) => {
    await session.depart();
    return { result: {} };
  },

  "channels.watch": (host, session, { on }) => {
    namesWatches.get(session)?.();
    namesWatches.delete(session);
    if (on) {
      const stop = host.names.watch((channels) => session.rpc.tell("channels.changed", { channels }));
      const forget = session.onGone(stop);
      namesWatches.set(session, () => {
        forget();
        stop();
      });
    }
    return { result: {} };
  },

  status: (host, session, { part = 0 }) => ({ result: answerPart(session, "status", part, () => host.status()) }),
  doctor: (host) => ({ result: host.doctor() }),
  explain: (host, session, { stream, part = 0 }) => ({
    result: answerPart(session, "explain", part, () => host.explain(stream)),
  }),

  watch: (host, session, params) => {
    const wanted = (sessions: ReadonlyArray<number>): boolean =>
      params.session === 0 || sessions.includes(params.session);
    if (params.session !== 0 && !host.session(params.session)) throw noSuch("session", params.session);
    const { inspection } = host.world;
    const machines = inspection.current.filter(({ sessions }) => wanted(sessions));
    // One watch a session: whoever asks again looks elsewhere from now on.
    watches.get(session)?.();
    const stop = inspection.watch((state) => {
      if (wanted(state.sessions)) session.life.soon(() => session.rpc.tell("machine.state", state));
    });
    const forget = session.onGone(stop);
    watches.set(session, () => {
      forget();
      stop();
    });
    return { result: { machines } };
  },
};

/** Whoever is trusted as the runtime itself is, and root, moves anybody's streams; others move those of their own user. */
const mayMove = ({ domain, who }: SessionActor, whose: SessionActor): boolean =>
  domain === null || who.uid === 0 || who.uid === whose.who.uid;

/** What an operator may ask, who has no pages. */
const FOR_OPERATORS: ReadonlySet<string> = new Set([
  "hello",
  "status",
  "doctor",
  "explain",
  "watch",
  "stream.rebind",
  "session.close",
]);
/** What may come before the application has mapped its pages. */
const BEFORE_MAPPED: ReadonlySet<string> = new Set([...FOR_OPERATORS, "session.mapped"]);

export function serveRequest<M extends ClientMethodName>(
  host: Host,
  session: SessionActor,
  method: M,
  params: Params<ClientMethodTable, M>,
): Answer<M> | Promise<Answer<M>> {
  if (method !== "hello" && !session.attached) {
    const why = session.name ? "the session is closing" : "the first frame is hello";
    throw new InsaneError(session.name ? "ECLOSED" : "ESCHEMA", `${method} is not possible: ${why}.`, { method });
  }
  if (session.role === "operator" && !FOR_OPERATORS.has(method)) {
    throw new InsaneError("EPERM", `An operator may only ask (${[...FOR_OPERATORS].join(", ")}), not ${method}.`);
  }
  if (session.role === "application" && !session.mapped && !BEFORE_MAPPED.has(method)) {
    throw new InsaneError("ESCHEMA", `${method} before session.mapped: the pages are not sealed yet.`, { method });
  }
  return handlers[method](host, session, params);
}

export function serveNotification(host: Host, session: SessionActor, notice: ClientNotification): void {
  const { link: index, what } = notice.params;
  const at = session.end.linkAt(index);
  const link = at && host.broker.link(at.link);
  // It may have crossed the message that ended the link.
  if (!at || !link || faulted.has(link)) return;
  faulted.add(link);
  host.log.info("link fault reported", { session: session.id, link: link.spec.id, what });
  link.violation(at.role === "producer" ? "consumer" : "producer", what);
}

/** Most sources, and most sinks, of one session on one stream: the tables of a link must fit a control frame. */
const MOST_ON_A_LINK = 800;

/** Charges the links that an endpoint brings about to who opens it; the result gives them back. */
function reserveLinks(host: Host, session: SessionActor, member: PlannedMember, what: string): () => void {
  if (member.sources.length > MOST_ON_A_LINK || member.sinks.length > MOST_ON_A_LINK) {
    const why = `${MOST_ON_A_LINK} sources and as many sinks are the most of a session on one stream; open another stream.`;
    throw new InsaneError("ELIMIT", why, { stream: member.stream, limit: MOST_ON_A_LINK });
  }
  const links = host.broker.cost(member);
  const bytes = links * linkBytes(host.config.link.entries);
  session.reserve(bytes, `The ${links} links of ${what}`);
  return () => session.unreserve(bytes);
}

/** What was reserved for something is given back at once when that does not come about. */
function held<A>(release: () => void, make: () => A): A {
  try {
    return make();
  } catch (cause) {
    release();
    throw cause;
  }
}

function streamOf(session: SessionActor, id: number): StreamActor {
  const stream = session.streams.get(id);
  if (!stream || stream.closing) throw noSuch("stream", id);
  return stream;
}

/** As streamOf, for what adds to it: nobody would close what is added to one that closes. */
function openStreamOf(session: SessionActor, id: number): StreamActor {
  const stream = streamOf(session, id);
  if (stream.closing) throw new InsaneError("ECLOSED", `Stream ${stream.name} is closing.`);
  return stream;
}

function find<K extends "sources" | "sinks">(session: SessionActor, kind: K, id: number, what: string) {
  for (const stream of session.streams.values()) {
    const found = stream[kind].get(id);
    if (found)
      return found as K extends "sources"
        ? NonNullable<ReturnType<StreamActor["sources"]["get"]>>
        : NonNullable<ReturnType<StreamActor["sinks"]["get"]>>;
  }
  throw noSuch(what, id);
}

const noSuch = (what: string, id: number | string): InsaneError =>
  new InsaneError("ENOENT", `There is no ${what} ${id} here (any more).`, { [what]: id });

const closedMeanwhile = (what: string, channel: number, why: string | undefined): InsaneError =>
  new InsaneError("ECLOSED", `The ${what} of channel ${channel} was closed before it opened${why ? `: ${why}` : "."}`);
