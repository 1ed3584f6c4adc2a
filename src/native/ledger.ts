// The records of flows in an engine's counter segment (core/ledger.h): what can still be said of one that hangs, or whose
// process is gone.
import { COUNTERS } from "../protocol/layout.ts";
import type { EndedFlow } from "./engine-events.ts";

export interface LedgerFlow extends EndedFlow {
  /** Received flows: losses that the engine had found and not told. */
  readonly untold: number;
}

export interface Ledger {
  /** `sent`: messages that a datapath took. */
  readonly sent: ReadonlyArray<LedgerFlow>;
  /** `sent`: messages that were received or found missing. */
  readonly received: ReadonlyArray<LedgerFlow>;
}

/** Of struct ins_ledger_record. */
const AT = { HOST: 0, FLOW: 4, TAG: 8, CHANNEL: 12, SOURCE: 16, UNTOLD: 20, NEXT: 24 } as const;

function flows(segment: Uint8Array, begin: number): LedgerFlow[] {
  const view = new DataView(segment.buffer, segment.byteOffset + begin, COUNTERS.RECORDS * COUNTERS.RECORD_BYTES);
  const found: LedgerFlow[] = [];
  for (let at = 0; at < view.byteLength; at += COUNTERS.RECORD_BYTES) {
    const word = (field: number): number => view.getUint32(at + field, true);
    if (word(AT.HOST) === 0) continue;
    found.push({
      host: word(AT.HOST) - 1,
      flow: word(AT.FLOW),
      tag: word(AT.TAG),
      channel: word(AT.CHANNEL),
      source: word(AT.SOURCE),
      untold: word(AT.UNTOLD),
      sent: Number(view.getBigUint64(at + AT.NEXT, true)),
    });
  }
  return found;
}

/** Of a segment that is still mapped; empty of one that is not. */
export const readLedger = (segment: Uint8Array): Ledger =>
  segment.length === 0
    ? { sent: [], received: [] }
    : { sent: flows(segment, COUNTERS.SENT), received: flows(segment, COUNTERS.RECEIVED) };
