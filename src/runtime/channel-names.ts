// What channels are called, on this host and on others: a name belongs to a channel of a stream as long as somebody uses
// it, and two names never share one. Pure bookkeeping; watchers are told in turns of their own.
import { InsaneError } from "../protocol/codes.ts";
import type { NamedChannelRecord } from "../protocol/control.ts";
import type { ChannelName } from "./directory.ts";

type Role = "sources" | "sinks";
/** Of a control frame: names of 200 bytes each fit. */
const BATCH = 100;

interface Entry {
  readonly stream: string;
  readonly channel: number;
  readonly name: string;
  /** Of this host. */
  sources: number;
  sinks: number;
  readonly peers: Map<number, ChannelName>;
}
type Watcher = (channels: ReadonlyArray<NamedChannelRecord>) => void;

export class ChannelNames {
  /** By stream and channel; more than one only after other hosts have chosen differently at one time. */
  readonly #channels = new Map<string, Map<string, Entry>>();
  readonly #ofPeer = new Map<number, ReadonlyArray<ChannelName>>();
  readonly #watchers = new Set<Watcher>();
  readonly #changed = new Set<Entry>();

  /** Without a name there is nothing to claim. The result gives it back. Throws ECOLLISION. */
  claim(stream: string, channel: number, name: string | undefined, role: Role): () => void {
    if (name === undefined) return () => {};
    for (const other of this.#channels.get(`${stream}\n${channel}`)?.keys() ?? []) {
      if (other === name) continue;
      throw new InsaneError(
        "ECOLLISION",
        `The names ${name} and ${other} stand for the same channel (${channel}) of stream ${stream}; choose another name.`,
        { name, other, channel, stream },
      );
    }
    const entry = this.#entry(stream, channel, name);
    entry[role]++;
    this.#touch(entry);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      entry[role]--;
      this.#touch(entry);
    };
  }

  /** What another host calls its channels from now on. */
  peer(peer: number, names: ReadonlyArray<ChannelName>): void {
    const before = this.#ofPeer.get(peer) ?? [];
    if (names.length > 0) this.#ofPeer.set(peer, names);
    else this.#ofPeer.delete(peer);
    const touched = new Set<Entry>();
    for (const { stream, channel, name } of before) {
      const entry = this.#channels.get(`${stream}\n${channel}`)?.get(name);
      if (entry?.peers.delete(peer)) touched.add(entry);
    }
    for (const one of names) {
      const entry = this.#entry(one.stream, one.channel, one.name);
      entry.peers.set(peer, one);
      touched.add(entry);
    }
    for (const entry of touched) this.#touch(entry);
  }

  /** What this host calls its own. */
  get own(): ChannelName[] {
    return [...this.#all()].flatMap(({ stream, channel, name, sources, sinks }) =>
      sources + sinks > 0 ? [{ stream, channel, name, sources: sources > 0, sinks: sinks > 0 }] : [],
    );
  }

  /** Tells everything at once, then what changes; the result ends it. */
  watch(watcher: Watcher): () => void {
    tell(watcher, [...this.#all()]);
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  *#all(): IterableIterator<Entry> {
    for (const names of this.#channels.values()) yield* names.values();
  }

  #entry(stream: string, channel: number, name: string): Entry {
    const key = `${stream}\n${channel}`;
    const names = this.#channels.get(key) ?? new Map<string, Entry>();
    this.#channels.set(key, names);
    const entry = names.get(name) ?? { stream, channel, name, sources: 0, sinks: 0, peers: new Map() };
    names.set(name, entry);
    return entry;
  }

  #touch(entry: Entry): void {
    if (entry.sources + entry.sinks + entry.peers.size === 0) {
      const key = `${entry.stream}\n${entry.channel}`;
      const names = this.#channels.get(key);
      if (names?.get(entry.name) === entry) names.delete(entry.name);
      if (names?.size === 0) this.#channels.delete(key);
    }
    if (this.#watchers.size === 0) return;
    // What changes in one turn is told at once.
    if (this.#changed.size === 0) setImmediate(() => this.#tell());
    this.#changed.add(entry);
  }

  #tell(): void {
    // One that went and came again is another entry now: what it is told last must be how it is.
    const now = [...this.#changed].map(
      (entry) => this.#channels.get(`${entry.stream}\n${entry.channel}`)?.get(entry.name) ?? entry,
    );
    this.#changed.clear();
    for (const watcher of [...this.#watchers]) tell(watcher, now);
  }
}

function tell(watcher: Watcher, entries: ReadonlyArray<Entry>): void {
  for (let at = 0; at < entries.length; at += BATCH) watcher(entries.slice(at, at + BATCH).map(recordOf));
}

function recordOf({ stream, channel, name, sources, sinks, peers }: Entry): NamedChannelRecord {
  const there = [...peers.values()];
  return {
    stream,
    channel,
    name,
    sources: sources + there.filter((one) => one.sources).length,
    sinks: sinks + there.filter((one) => one.sinks).length,
  };
}
