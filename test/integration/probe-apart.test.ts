// Probes in a process that is thrown away: the same answer, and a library that crashes or hangs while it looks hurts nobody.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { engines } from "../../src/native/engine.ts";
import { probeApart } from "../../src/native/probe.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "insane-probe-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A program in the place of ours. */
function program(script: string): string {
  const path = join(folder, "program");
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

it.each(["udp", "dpdk", "rdma"])("%s is found as in this process", (name) => {
  expect(probeApart(name, "")).toEqual(engines().probe(name, ""));
});

it("what is printed by a library does not spoil the answer", () => {
  const { path, args } = { path: program("echo noise; echo noise >&2; exit 0"), args: "" };
  expect(probeApart("rdma", args, path)).toMatchObject({
    available: false,
    reason: expect.stringContaining("status 0"),
  });
});

it("a crash is unavailability with a reason", () => {
  expect(probeApart("rdma", "", program("kill -SEGV $$"))).toMatchObject({
    available: false,
    reason: expect.stringContaining("SIGSEGV"),
    cure: expect.stringMatching(/./),
  });
});

it("a hang is unavailability with a reason, after five seconds", { timeout: 60_000 }, () => {
  expect(probeApart("rdma", "", program("exec sleep 1000"))).toMatchObject({
    available: false,
    reason: expect.stringContaining("no answer"),
  });
});
