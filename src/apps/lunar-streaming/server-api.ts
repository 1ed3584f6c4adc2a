// What an application gives a server of frames, and what it hears of it. Types only.
import type { Qos } from "../../index.ts";
import type { ClientState } from "./audience.ts";
import type { StreamingError } from "./errors.ts";
import type { FrameSource } from "./frame-source.ts";

export interface ServerOptions {
  readonly name: string;
  readonly source: FrameSource;
  /** Acceleration and consumption as for any stream. */
  readonly quality?: Partial<Pick<Qos, "acceleration" | "consumption">>;
  /** Frames a second. */
  readonly fps?: number;
  /** Down to this the rate follows what clients can take; default `fps`: it stays. */
  readonly minFps?: number;
  /** What happens to a frame for which there is no room: `skip` (default), or `wait`, at most `patienceMs` (2000). */
  readonly late?: "skip" | "wait";
  readonly patienceMs?: number;
  /**
   * Frames that may be under way to whoever is waited for, the network among them (3): further ones would only be older
   * when they arrive.
   */
  readonly ahead?: number;
}

export interface ServerStats {
  /** Numbers given: sent + skipped. */
  readonly frames: number;
  readonly sent: number;
  /** Not sent, by reason: not in time, no room, the source failed or its frame was wrong, or nobody listened. */
  readonly skipped: {
    readonly late: number;
    readonly full: number;
    readonly refused: number;
    readonly unheard: number;
  };
  readonly bytes: number;
  readonly fps: number;
  /** Where frames go now: sessions of this host, and the network as one. */
  readonly listeners: number;
  /** Who has reported lately, here and elsewhere. */
  readonly clients: ReadonlyArray<ClientState>;
}

export interface ServerEvents {
  /** A frame that was not sent because the source failed, or wrote something else than it said. */
  refused: [{ readonly number: number; readonly error: StreamingError }];
  /** Clients that wait for every frame held up the server for longer than its patience. */
  stalled: [{ readonly number: number; readonly error: StreamingError }];
  /** Others serve its name as well: they began at one time, or their hosts met later. */
  rivals: [StreamingError];
  joined: [{ readonly client: number }];
  left: [{ readonly client: number; readonly why: "left" | "silent" }];
}
