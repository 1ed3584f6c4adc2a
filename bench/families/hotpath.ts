// hotpath: instructions per message of each step in C, by callgrind. What they were is kept in bench/hotpath.json, and
// test/deep/hotpath.test.ts fails when one has grown by more than 5 %.
import { BURST, countInstructions, hotpathUnavailable, PATHS } from "../insane/hotpath.ts";
import type { Benchmark } from "../runner/benchmark.ts";

export const hotpath: Benchmark = {
  name: "hotpath",
  summary:
    "instructions per message of get, emit, consume, release, engine send and receive, and of one more sink, by callgrind",
  payloads: [64],
  compared: [],
  async open() {
    let counts: ReturnType<typeof countInstructions> | undefined;
    return {
      systems: PATHS.map((path) => ({
        system: "insane",
        datapath: "none",
        mode: "native",
        keys: { path },
        threads: `one, under callgrind; bursts of ${BURST}`,
        unavailable: hotpathUnavailable(),
        measure: async () => {
          counts ??= countInstructions();
          return [{ metric: "instructions", unit: "instructions", p50: counts[path] } as const];
        },
      })),
      conditions:
        "a datapath that takes everything at once; receive includes making the datagrams; valgrind counts, so load does not matter",
      close() {},
    };
  },
};
