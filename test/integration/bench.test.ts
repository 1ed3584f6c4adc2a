// The benchmark program as its readers meet it: JSON lines and nothing else, a table, readable refusals.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const main = fileURLToPath(new URL("../../bench/main.ts", import.meta.url));

function bench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

test("with --json standard output is one object a line, with the keys of a figure", async () => {
  const args = [
    "rtt-local",
    "--json",
    "--seconds",
    "0.1",
    "--repeat",
    "1",
    "--payloads",
    "64",
    "--systems",
    "node-unix",
  ];
  const { code, stdout, stderr } = await bench(...args);
  expect(stderr).toContain("round 1/1: node-unix");
  expect(code).toBe(0);
  const lines = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({
    bench: "rtt-local",
    system: "node-unix",
    datapath: "unix",
    payload: 64,
    metric: "rtt",
    unit: "us",
    p50: expect.any(Number),
    p99: expect.any(Number),
    threads: expect.any(String),
    load1: expect.any(Number),
  });
  expect(lines[0]?.["p50"]).toBeGreaterThan(1);
});

test("every benchmark is listed with one line", async () => {
  const { code, stdout } = await bench("list");
  expect(code).toBe(0);
  expect(stdout.split("\n").map((line) => line.split(" ")[0])).toEqual(
    expect.arrayContaining(["rtt-udp", "rate-udp", "rtt-local", "rate-local", "idle"]),
  );
});

test.each([
  [["rtt-pigeon"], 'no benchmark "rtt-pigeon"; there are: rtt-udp'],
  [["idle", "--repeat", "1.5"], '--repeat is "1.5", must be a whole number'],
  [["idle", "--seconds", "soon"], '--seconds is "soon"'],
  [["idle", "--fast"], "--fast"],
  [["rtt-local", "--payloads", "65"], "none of those asked for"],
  [["lunar-stream", "--payloads", "hd,16k"], '--payloads is "16k"'],
  [["rtt-local", "--payloads", "hd"], '--payloads is "hd"'],
])("%j is refused with what is allowed", async (args, message) => {
  const { code, stdout, stderr } = await bench(...args);
  expect(code).toBe(2);
  expect(stdout).toBe("");
  expect(stderr).toContain(message);
});
