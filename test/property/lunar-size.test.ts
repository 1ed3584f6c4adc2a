// How small the two Lunar applications are: lines of code, without comments and empty ones, against what its page says.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const CORE = ["lunar.ts", "publisher.ts", "subscription.ts", "topics.ts"];

const lines = (app: string, file: string): number =>
  readFileSync(join(root, "src/apps", app, file), "utf8")
    .replaceAll(/\/\*.*?\*\//gs, "")
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.trim().startsWith("//")).length;

it("the page of Lunar MoM says about how many lines it has", () => {
  const core = CORE.reduce((sum, file) => sum + lines("lunar-mom", file), 0);
  const all = readdirSync(join(root, "src/apps/lunar-mom")).reduce((sum, file) => sum + lines("lunar-mom", file), 0);
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

it("the page of Lunar Streaming says about how many lines serve and view, and how many everything has", () => {
  const files = readdirSync(join(root, "src/apps/lunar-streaming"), { recursive: true, encoding: "utf8" });
  const sources = files.filter((file) => file.endsWith(".ts"));
  const count = (some: readonly string[]): number =>
    some.reduce((sum, file) => sum + lines("lunar-streaming", file), 0);
  const core = count(sources.filter((file) => !file.includes("/") && file !== "encoding.ts"));
  const page = readFileSync(join(root, "docs/lunar-streaming.md"), "utf8").replaceAll(/\s+/g, " ");
  const [, said = "", saidOfAll = ""] =
    /about ([\d,]+) lines of code; with sources, sinks and compression it is about ([\d,]+)/.exec(page) ?? [];
  for (const [counted, written] of [
    [core, said],
    [count(sources), saidOfAll],
  ] as const) {
    const claim = Number(written.replaceAll(",", ""));
    expect(Math.abs(counted - claim) / counted, `${counted} lines, not ${written}`).toBeLessThan(0.1);
  }
});
