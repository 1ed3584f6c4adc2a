// Indices of sources: never two sources with one at once, never one again that something still bears, never more than an
// engine has room for.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_SOURCES, SourceIndices } from "../../src/actors/source-indices.ts";
import { InsaneError } from "../../src/protocol/codes.ts";

/** A link that messages with an index leave when the test says so. */
class PlayedLink {
  readonly borne = new Set<number>();
  isRidOf(index: number): boolean {
    return !this.borne.has(index);
  }
}

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant("open" as const), count: fc.integer({ min: 1, max: 2500 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("close" as const),
      count: fc.integer({ min: 1, max: 2500 }),
      links: fc.subarray([0, 1, 2]),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("home" as const), link: fc.nat({ max: 2 }) }) },
);

describe("the index of a source", () => {
  it("is its own as long as it lives and as something bears it, and is used again after that", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 14, size: "max" }), (steps) => {
        const indices = new SourceIndices("s");
        const links = [new PlayedLink(), new PlayedLink(), new PlayedLink()];
        const open = new Set<number>();
        for (const one of steps) {
          if (one.do === "home") links[one.link]?.borne.clear();
          else if (one.do === "open") {
            for (let i = 0; i < one.count; i++) {
              const bearing = new Set(links.flatMap(({ borne }) => [...borne]));
              if (i % 100 !== 0 && open.size + bearing.size < MAX_SOURCES - 200) {
                open.add(indices.take());
                continue;
              }
              const free = MAX_SOURCES - new Set([...open, ...bearing]).size;
              if (free > 0) {
                const index = indices.take();
                expect(index).toBeLessThan(MAX_SOURCES);
                expect(open.has(index)).toBe(false);
                expect(bearing.has(index)).toBe(false);
                open.add(index);
              } else {
                expect(() => indices.take()).toThrow(InsaneError);
                break;
              }
            }
          } else {
            for (const index of [...open].slice(0, one.count)) {
              open.delete(index);
              const carriers = one.links.map((at) => links[at] as PlayedLink);
              for (const link of carriers) link.borne.add(index);
              indices.leave(
                index,
                carriers.map((link) => ({ link, mark: 0 })),
              );
            }
          }
        }
      }),
      { numRuns: 20 },
    );
  });

  it("is refused to one source too many, with the limit and what to do", () => {
    const indices = new SourceIndices("camera");
    for (let i = 0; i < MAX_SOURCES; i++) indices.take();
    const refusal = expect.objectContaining({ code: "ELIMIT", details: { stream: "camera", limit: 4096 } });
    expect(() => indices.take()).toThrow(refusal);
    expect(() => indices.take()).toThrow(/4096 sources on one stream \(camera\) at once; close some/);
    const link = new PlayedLink();
    link.borne.add(7);
    indices.leave(7, [{ link, mark: 0 }]);
    expect(() => indices.take()).toThrow(/1 of them are closed but have messages under way/);
    link.borne.clear();
    expect(indices.take()).toBe(7);
  });
});
