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

it("the page of Lunar MoM says how many lines it has", () => {
  const core = CORE.reduce((sum, file) => sum + lines(file), 0);
  const all = readdirSync(folder).reduce((sum, file) => sum + lines(file), 0);
  const page = readFileSync(join(root, "docs/lunar-mom.md"), "utf8").replaceAll(/\s+/g, " ");
  expect(page).toContain(`${core} lines`);
  expect(page).toContain(`${all.toLocaleString("en")} with everything`);
});
