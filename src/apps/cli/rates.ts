// What `insane top` shows: the differences between two status reports, per second. Pure.
import type { EndpointReport, StatusReport } from "../../runtime/api.ts";

export interface Rate {
  readonly kind: "source" | "sink";
  readonly id: number;
  readonly session: string;
  readonly stream: string;
  readonly datapath: string;
  readonly channel: number;
  readonly messagesPerSecond: number;
  readonly bytesPerSecond: number;
  /** Since it opened. */
  readonly messages: number;
  readonly dropped: number;
  readonly lost: number;
  /** Slots that have not come home (sources), messages not released (sinks). */
  readonly out: number;
}

export function ratesBetween(before: StatusReport, after: StatusReport, seconds: number): Rate[] {
  const earlier = new Map<number, EndpointReport>();
  for (const { endpoint } of endpointsOf(before)) earlier.set(endpoint.id, endpoint);
  return endpointsOf(after).map(({ kind, session, stream, datapath, endpoint: { id, channel, stats } }) => {
    const was = earlier.get(id)?.stats ?? {};
    const count = (name: string): number => stats[name] ?? 0;
    const perSecond = (name: string): number =>
      seconds > 0 ? Math.max(0, count(name) - (was[name] ?? 0)) / seconds : 0;
    const messages = kind === "source" ? "emitted" : "received";
    return {
      kind,
      id,
      session,
      stream,
      datapath,
      channel,
      messagesPerSecond: perSecond(messages),
      bytesPerSecond: perSecond("bytes"),
      messages: count(messages),
      dropped: count("dropped"),
      lost: count("lost") + count("abandoned"),
      out: count(kind === "source" ? "outstanding" : "held"),
    };
  });
}

const endpointsOf = (report: StatusReport) =>
  report.sessions.flatMap((session) =>
    session.streams.flatMap((stream) =>
      (["source", "sink"] as const).flatMap((kind) =>
        stream[`${kind}s`].map((endpoint) => ({
          kind,
          session: session.name,
          stream: stream.name,
          datapath: stream.datapath ?? "shm",
          endpoint,
        })),
      ),
    ),
  );
