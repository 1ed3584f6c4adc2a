// The diagrams say what the machines say: those in docs/models are current, the check finds and names what is not, and
// every state can be found in its picture and in its Mermaid text.
import { spawnSync } from "node:child_process";
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, describe as group, onTestFinished, test } from "vitest";
import { machines } from "../../models/all.ts";
import { describe } from "../../models/describe.ts";
import { mermaid } from "../../models/mermaid.ts";
import { draw } from "../../scripts/models-svg.ts";

const script = fileURLToPath(new URL("../../scripts/models.ts", import.meta.url));
const run = (...args: readonly string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: "utf8" });
  return { status, output: stdout + stderr };
};

/** Each run draws all machines: seconds, and many more on a busy machine. */
const PATIENCE_MS = 120_000;

test("docs/models is what the code says", { timeout: PATIENCE_MS }, () => {
  expect(run("--check")).toEqual({ status: 0, output: "" });
});

test("the check names a file that differs, one that is missing and one that does not belong there", {
  timeout: PATIENCE_MS,
}, () => {
  const folder = mkdtempSync(join(tmpdir(), "insane-models-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  expect(run("--into", folder).status).toBe(0);
  expect(run("--check", "--into", folder).status).toBe(0);
  appendFileSync(join(folder, "link.svg"), " ");
  rmSync(join(folder, "peer.md"));
  writeFileSync(join(folder, "gone.svg"), "");
  const check = run("--check", "--into", folder);
  expect(check.status).toBe(1);
  for (const name of ["link.svg", "peer.md", "gone.svg"]) expect(check.output).toContain(`${name} differs`);
  expect(check.output).not.toContain("session.svg");
  expect(run("--into", folder).status).toBe(0);
  expect(readdirSync(folder)).toHaveLength(2 * machines.length + 1);
  expect(readFileSync(join(folder, "README.md"), "utf8")).toContain("[Link](link.md)");
});

test("an argument that it does not know is refused with the usage", () => {
  const { status, output } = run("--chek");
  expect(status).toBe(2);
  expect(output).toContain("Usage:");
});

group.each(machines)("$name", ({ title, machine }) => {
  const description = describe(machine);

  test("has every state in its picture, by the id that a live snapshot has", async () => {
    const svg = await draw(title, description);
    const ids = [...svg.matchAll(/data-id="([^"]+)"/g)].map(([, id]) => id);
    expect(ids.sort()).toEqual(description.states.map((state) => machine.getStateNodeById(state.id).id).sort());
  });

  test("has every state and every event in its Mermaid text", () => {
    const text = mermaid(description);
    for (const state of description.states) {
      expect(text).toContain(`state "${state.key}" as ${state.path.replaceAll(".", "_")}`);
    }
    const leading = description.transitions.filter(({ from, to }) => to !== null && !to.startsWith(`${from}.`));
    for (const { event } of leading) expect(text).toContain(event);
  });
});
