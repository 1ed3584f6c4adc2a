// The number at the head of every message that is measured.

/** Messages that share a datagram lie at any offset. */
export function sequenceOf({ memory, offset }: { readonly memory: Uint8Array; readonly offset: number }): number {
  const byte = (i: number) => memory[offset + i] as number;
  return (byte(0) | (byte(1) << 8) | (byte(2) << 16) | (byte(3) << 24)) >>> 0;
}

/** The same, for one whose `words` are at hand: one load where it lies on a word. */
export function sequenceAt(message: {
  readonly memory: Uint8Array;
  readonly words: Uint32Array;
  readonly offset: number;
}): number {
  const { offset } = message;
  return (offset & 3) === 0 ? (message.words[offset >>> 2] as number) : sequenceOf(message);
}
