// What an engine tells, decoded from struct ins_event (core/engine.h).

export type EngineEvent =
  /** A command was done (0) or refused (-errno). `value`: of removeLink the entries that were still out. */
  | { readonly type: "ack"; readonly command: number; readonly status: number; readonly value: number }
  /** The application behind this link broke the contract; the engine touches it no more. */
  | { readonly type: "link-fault"; readonly link: number }
  | { readonly type: "datapath-down"; readonly datapath: number; readonly status: number }
  /** Messages that did not arrive, since this was last said. */
  | {
      readonly type: "lost";
      readonly tag: number;
      readonly channel: number;
      readonly source: number;
      readonly peer: number;
      readonly count: number;
    }
  /** Messages that came behind later ones, or twice, and were dropped, since this was last said; `reordered` had been lost. */
  | {
      readonly type: "late";
      readonly tag: number;
      readonly channel: number;
      readonly source: number;
      readonly reordered: number;
      readonly count: number;
    }
  /** Messages that arrived and were not delivered on this link (`STATUS` as reason), since this was last said. */
  | {
      readonly type: "dropped";
      readonly link: number;
      readonly channel: number;
      readonly reason: number;
      readonly count: number;
    }
  /** The inline owner was away and the engine's thread stepped in, so many times. */
  | { readonly type: "stalled-owner"; readonly count: number }
  /**
   * A retired link (null: the moved route of tag and channel) is empty, and the receivers of its flows have said so, all but
   * `unheard`; they found `lost` messages missing.
   */
  | {
      readonly type: "marked";
      readonly link: number | null;
      readonly tag: number;
      readonly channel: number;
      readonly unheard: number;
      readonly lost: number;
    }
  /** A flow of `host` to another engine of ours has ended (`ended`), or one of ours that this engine cannot tell of (`untold`). */
  | ({ readonly type: "ended" | "untold" } & EndedFlow);

/** A flow that is over after `sent` messages. `host`: the number that ids of its peers share (id / PEER_ENDPOINTS). */
export interface EndedFlow {
  readonly host: number;
  readonly tag: number;
  readonly channel: number;
  readonly source: number;
  readonly flow: number;
  readonly sent: number;
}

/** Ids of one host's endpoints begin at a multiple of this: INS_PEER_ENDPOINTS of core/engine.h, at least one for each lane. */
export const PEER_ENDPOINTS = 8;

/** Of a struct ins_event. */
export const EVENT_BYTES = 32;

/** An event as core/engine.h has it in memory; null for a type that is none of the engine's. */
export function decodeEvent(event: DataView): EngineEvent | null {
  const u32 = (offset: number): number => event.getUint32(offset, true);
  const status = event.getInt32(4, true);
  const value = Number(event.getBigUint64(24, true));
  switch (u32(0)) {
    case 1:
      return { type: "ack", command: u32(8), status, value };
    case 2:
      return { type: "link-fault", link: u32(8) };
    case 3:
      return { type: "datapath-down", datapath: u32(8), status };
    case 4:
      return { type: "lost", tag: u32(8), channel: u32(12), source: u32(16), peer: u32(20), count: value };
    case 5:
      return { type: "dropped", link: u32(8), channel: u32(12), reason: u32(16), count: value };
    case 6:
      return { type: "stalled-owner", count: value };
    case 7:
      return {
        type: "marked",
        link: u32(8) === 0xffffffff ? null : u32(8),
        tag: u32(16),
        channel: u32(20),
        unheard: u32(12),
        lost: value,
      };
    case 8:
    case 9: {
      const flow = { host: status, tag: u32(8), channel: u32(12), source: u32(16), flow: u32(20), sent: value };
      return { type: u32(0) === 8 ? "ended" : "untold", ...flow };
    }
    case 10:
      return { type: "late", tag: u32(8), channel: u32(12), source: u32(16), reordered: u32(20), count: value };
    default:
      return null;
  }
}
