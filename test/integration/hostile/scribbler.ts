// A thread that writes into a segment without a pause, for as long as it is told: what a hostile application does while
// somebody else reads. Given by workerData: the descriptor, its size, the words to write and the values to choose from.
import { workerData } from "node:worker_threads";
import { mapSegment } from "../../../src/native/views.ts";

export interface Scribble {
  readonly fd: number;
  readonly bytes: number;
  readonly words: ReadonlyArray<number>;
  readonly values: ReadonlyArray<number>;
  readonly ms: number;
}

const { fd, bytes, words, values, ms } = workerData as Scribble;
const mapping = mapSegment(fd, bytes, true);
const memory = new Int32Array(mapping.buffer);
const until = performance.now() + ms;
let state = 1;
while (performance.now() < until) {
  for (let i = 0; i < 4096; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const at = words[state % words.length] as number;
    memory[at] = values[(state >>> 8) % values.length] as number;
  }
}
mapping.unmap();
