// The sinks in which something has happened since the last turn ended: their callbacks may have messages to hand out, and
// their counters go to the statistics page.
import type { SinkQueue } from "./sink.ts";

export class ChangedSinks {
  /** Only the first `count`: emptying an array costs more than all else here. */
  private readonly list: SinkQueue[] = [];
  private count = 0;

  add(sink: SinkQueue): void {
    sink.stale = true;
    this.list[this.count++] = sink;
  }

  /** At the end of a turn. Callbacks may change further sinks. */
  settle(): void {
    for (let i = 0; i < this.count; i++) (this.list[i] as SinkQueue).settleBurst();
    for (let i = 0; i < this.count; i++) (this.list[i] as SinkQueue).writeStats();
    this.count = 0;
  }

  /** Between turns: counters only, callbacks wait. */
  account(): void {
    let waiting = 0;
    for (let i = 0; i < this.count; i++) {
      const sink = this.list[i] as SinkQueue;
      if (sink.callsWaiting) this.list[waiting++] = sink;
      else sink.writeStats();
    }
    this.count = waiting;
  }
}
