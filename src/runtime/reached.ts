// Channels on which peers are reached, by stream: each counted as often as a peer is, with a version that tells a reader
// whether anything is new since it looked last. Pure bookkeeping.

interface OfStream {
  /** Channel -> peers that get its messages. */
  readonly channels: Map<number, number>;
  version: number;
}

export class Reached {
  readonly #streams = new Map<string, OfStream>();
  #version = 0;

  add(stream: string, channel: number): void {
    const of = this.#of(stream);
    const peers = of.channels.get(channel) ?? 0;
    of.channels.set(channel, peers + 1);
    if (peers === 0) of.version = ++this.#version;
  }

  remove(stream: string, channel: number): void {
    const of = this.#streams.get(stream);
    if (of === undefined) return;
    const peers = of.channels.get(channel) ?? 0;
    if (peers > 1) {
      of.channels.set(channel, peers - 1);
      return;
    }
    if (of.channels.delete(channel)) of.version = ++this.#version;
    // The version of what is gone is 0: another one than any that was there.
    if (of.channels.size === 0) this.#streams.delete(stream);
  }

  clear(): void {
    this.#version++;
    this.#streams.clear();
  }

  /** A larger number whenever anything is something else. */
  get changes(): number {
    return this.#version;
  }

  has(stream: string, channel: number): boolean {
    return this.#streams.get(stream)?.channels.has(channel) === true;
  }

  channels(stream: string): Iterable<number> {
    return this.#streams.get(stream)?.channels.keys() ?? [];
  }

  /** Another number whenever the channels of this stream are others; 0 while there are none. */
  version(stream: string): number {
    return this.#streams.get(stream)?.version ?? 0;
  }

  *[Symbol.iterator](): IterableIterator<{ readonly stream: string; readonly channel: number }> {
    for (const [stream, { channels }] of this.#streams)
      for (const channel of channels.keys()) yield { stream, channel };
  }

  #of(stream: string): OfStream {
    let of = this.#streams.get(stream);
    if (of === undefined) {
      of = { channels: new Map(), version: ++this.#version };
      this.#streams.set(stream, of);
    }
    return of;
  }
}
