// The hot path does not grow unnoticed: instructions per message, counted by callgrind, against bench/hotpath.json. A change
// that is worth more of them writes what `npm run bench -- hotpath --json` says into that file.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { countInstructions, hotpathUnavailable, PATHS } from "../../bench/insane/hotpath.ts";

const MOST_GROWTH = 1.05;
/** Compilers of one version count alike; another one may round a step of a dozen instructions up. */
const SLACK = 2;

const missing = hotpathUnavailable();
const known = JSON.parse(readFileSync(new URL("../../bench/hotpath.json", import.meta.url), "utf8"));

describe.skipIf(missing)(`the hot path ${missing ?? ""}`, () => {
  it("costs no more instructions a message than was written down", () => {
    const counts = countInstructions();
    const grown = PATHS.filter((path) => counts[path] > known[path] * MOST_GROWTH + SLACK);
    expect(grown.map((path) => `${path}: ${counts[path]} instructions, were ${known[path]}`)).toEqual([]);
  });
});
