// The sinks and sources in which something has happened and is not told yet: callbacks may have messages to hand out, and
// counters go to the statistics page, when there is nothing else to do.
import type { SinkQueue } from "./sink.ts";
import type { EmittingSource } from "./source.ts";

export class Changed {
  /** Only the first `sinkCount`: emptying an array costs more than all else here. */
  private readonly sinks: SinkQueue[] = [];
  private sinkCount = 0;
  private readonly sources: EmittingSource[] = [];
  private sourceCount = 0;
  /** Some of the sinks have callbacks. */
  callbacks = false;

  get waiting(): boolean {
    return this.sinkCount + this.sourceCount > 0;
  }

  add(sink: SinkQueue): void {
    sink.stale = true;
    if (sink.hasCallback) this.callbacks = true;
    this.sinks[this.sinkCount++] = sink;
  }

  addSource(source: EmittingSource): void {
    source.stale = true;
    this.sources[this.sourceCount++] = source;
  }

  /** At the end of a turn: callbacks get what was kept for them. They may change further sinks. */
  handOut(): void {
    for (let i = 0; i < this.sinkCount; i++) {
      const sink = this.sinks[i] as SinkQueue;
      if (sink.hasCallback) sink.settleBurst();
    }
  }

  /** Counters only: sinks whose callbacks have messages waiting for a turn stay in the list. */
  write(): void {
    let waiting = 0;
    for (let i = 0; i < this.sinkCount; i++) {
      const sink = this.sinks[i] as SinkQueue;
      sink.writeStats();
      if (!sink.callsWaiting) continue;
      sink.stale = true;
      this.sinks[waiting++] = sink;
    }
    this.sinkCount = waiting;
    this.callbacks = waiting > 0;
    for (let i = 0; i < this.sourceCount; i++) {
      const source = this.sources[i] as EmittingSource;
      source.stale = false;
      source.writeStats();
    }
    this.sourceCount = 0;
  }
}
