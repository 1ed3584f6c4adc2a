// A gate control list as the engine takes it (struct ins_gate_list, core/gates.h).

export interface GateList {
  /** CLOCK_TAI, ns. */
  readonly baseNs: bigint;
  readonly cycleNs: number;
  readonly lineRateMbps: number;
  /** Of the port. */
  readonly mtu: number;
  readonly marginNs: number;
  /** At most 64. `gates`: bit c is that of traffic class c. */
  readonly entries: ReadonlyArray<{ readonly gates: number; readonly intervalNs: number }>;
}

const HEAD_BYTES = 32;
const ENTRY_BYTES = 8;
const ENTRIES = 64;

/** Throws RangeError for what C could not hold; whether it makes sense is checked elsewhere. */
export function encodeGateList(list: GateList): Uint8Array {
  if (list.entries.length > ENTRIES) throw new RangeError(`a gate list has at most ${ENTRIES} entries`);
  const bytes = new Uint8Array(HEAD_BYTES + ENTRIES * ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, list.baseNs, true);
  view.setBigUint64(8, BigInt(list.cycleNs), true);
  view.setUint32(16, list.lineRateMbps, true);
  view.setUint32(20, list.mtu, true);
  view.setUint32(24, list.marginNs, true);
  view.setUint32(28, list.entries.length, true);
  list.entries.forEach(({ gates, intervalNs }, i) => {
    view.setUint32(HEAD_BYTES + i * ENTRY_BYTES, gates, true);
    view.setUint32(HEAD_BYTES + i * ENTRY_BYTES + 4, intervalNs, true);
  });
  return bytes;
}
