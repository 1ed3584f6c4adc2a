// The factory line as its README starts it: parts are judged right, answers come, and everything ends when it is told to.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, it } from "vitest";
import { DifferenceDetector } from "../../examples/factory-line/difference.ts";
import { defectOf, FORMAT, GOOD_AT_FIRST, Parts } from "../../examples/factory-line/parts.ts";
import type { Tally } from "../../examples/factory-line/topics.ts";
import { eventually } from "./runtime/processes.ts";

const MAIN = join(import.meta.dirname, "../../examples/factory-line/main.ts");

it.each([1, 2])("the detector finds every defect of camera %i and nothing else", async (camera) => {
  const parts = await Parts.of(camera);
  const detector = new DifferenceDetector(FORMAT.width, FORMAT.height);
  const picture = new Uint8Array(FORMAT.width * FORMAT.height * 3);
  let defects = 0;
  for (let part = 0; part < GOOD_AT_FIRST + 60; part++) {
    parts.photograph(picture, part);
    if (!detector.ready) {
      detector.learn(picture);
      continue;
    }
    const { boxes } = detector.inspect(picture);
    const defect = defectOf(camera, part);
    expect(boxes.length > 0, `part ${part}: ${defect}`).toBe(defect !== undefined);
    if (defect !== undefined) defects++;
  }
  expect(defects).toBeGreaterThan(3);
});

it("two cameras get right answers to what they show, and the line ends in order", async () => {
  const line = spawn(process.execPath, [MAIN, "--json", "--fps", "15"], { stdio: ["ignore", "pipe", "pipe"] });
  const closed = once(line, "close");
  let out = "";
  line.stdout.setEncoding("utf8").on("data", (text) => {
    out += text;
  });
  try {
    const [first] = (await once(createInterface({ input: line.stderr }), "line")) as [string];
    const { url } = JSON.parse(first) as { url: string };
    const socket = new WebSocket(`${url.replace("http", "ws")}live`);
    const tallies = new Map<number, Tally>();
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") return;
      const said = JSON.parse(data) as { type: string; kind?: string; value: Tally };
      if (said.kind?.startsWith("tally")) tallies.set(said.value.camera, said.value);
    };
    await eventually(
      () => [...tallies.values()],
      (all) => all.length === 2 && all.every(({ answered, rejected }) => answered > 50 && rejected > 1),
      50_000,
    );
    socket.close();
    // All programs of the line run below this one.
    const children = readFileSync(`/proc/${line.pid}/task/${line.pid}/children`, "utf8").trim().split(" ").map(Number);
    expect(children.length).toBeGreaterThanOrEqual(4);
    line.kill("SIGINT");
    expect(await closed).toEqual([0, null]);
    const last = JSON.parse(out) as Tally[];
    expect(last).toMatchObject([
      { camera: 1, missed: 0, falseAlarms: 0 },
      { camera: 2, missed: 0, falseAlarms: 0 },
    ]);
    for (const { latencyMs } of last) expect(latencyMs.p50).toBeGreaterThan(0);
    for (const pid of children) expect(() => process.kill(pid, 0)).toThrow("ESRCH");
  } finally {
    line.kill("SIGKILL");
    await closed;
  }
});
