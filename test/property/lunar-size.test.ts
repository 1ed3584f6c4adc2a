// How small Lunar MoM is: lines of code, without comments and empty ones, against what its page says.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const folder = join(root, "src/apps/lunar-mom");
const CORE = ["lunar.ts", "publisher.ts", "subscription.ts", "topics.ts"];

const lines = (file: string): number =>
  readFileSync(join(folder, file), "utf8")
    .replaceAll(/\/\*.*?\*\//gs, "")
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.trim().startsWith("//")).length;

it("the page of Lunar MoM says about how many lines it has", () => {
  const core = CORE.reduce((sum, file) => sum + lines(file), 0);
  const all = readdirSync(folder).reduce((sum, file) => sum + lines(file), 0);
  const page = readFileSync(join(root, "docs/lunar-mom.md"), "utf8").replaceAll(/\s+/g, " ");
  const [, said = "", saidOfAll = ""] =
    /has about ([\d,]+) lines of code; it is about ([\d,]+) with everything/.exec(page) ?? [];
  for (const [counted, written] of [
    [core, said],
    [all, saidOfAll],
  ] as const) {
    const claim = Number(written.replaceAll(",", ""));
    expect(Math.abs(counted - claim) / counted, `${counted} lines, not ${written}`).toBeLessThan(0.1);
  }
});
