// The clients of a server as their reports show them. Whoever is silent for some intervals is forgotten; nothing here
// decides about frames.
import type { Report } from "./control-records.ts";

export interface ClientState {
  readonly id: number;
  readonly received: number;
  /** Frames that were sent and did not reach it, or that it was too slow for. */
  readonly lost: number;
  readonly latencyUs: number;
  /** Of its frames since the report before, 0 to 1. */
  readonly share: number;
  /** performance.now() of its last report. */
  readonly heard: number;
}

/** Reports of more clients are not kept: a list that strangers fill has an end. */
const MOST_CLIENTS = 1024;

export class Audience {
  private readonly clients = new Map<number, ClientState>();

  get states(): ReadonlyArray<ClientState> {
    return [...this.clients.values()];
  }

  /** Returns "joined", "left", or nothing new. */
  heard(report: Report, now: number): "joined" | "left" | undefined {
    const { client: id, received, lost, latencyUs } = report;
    const before = this.clients.get(id);
    if (report.leaving) return this.clients.delete(id) ? "left" : undefined;
    if (before === undefined && this.clients.size >= MOST_CLIENTS) return undefined;
    const taken = received - (before?.received ?? 0);
    const missed = lost - (before?.lost ?? 0);
    const share = taken + missed > 0 ? Math.max(0, taken) / (taken + missed) : (before?.share ?? 1);
    this.clients.set(id, { id, received, lost, latencyUs, share, heard: now });
    return before === undefined ? "joined" : undefined;
  }

  /** Forgets whoever has not been heard of since; returns them. */
  forget(since: number): ClientState[] {
    const gone = this.states.filter(({ heard }) => heard < since);
    for (const { id } of gone) this.clients.delete(id);
    return gone;
  }

  /** What the client that fares best gets; undefined while there is none. */
  get bestShare(): number | undefined {
    const shares = this.states.map(({ share }) => share);
    return shares.length === 0 ? undefined : Math.max(...shares);
  }
}
