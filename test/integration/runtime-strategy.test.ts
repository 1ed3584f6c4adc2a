// A user's own strategy, from a configuration file and as code: streams are bound by it, and the decision says by which rule
// each candidate was taken or left.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type EmbedOptions, Runtime } from "../../src/index.ts";
import type { DecisionRecord } from "../../src/protocol/control.ts";
import { readSettings } from "../../src/runtime/config.ts";

async function decided(options: EmbedOptions): Promise<DecisionRecord> {
  await using runtime = await Runtime.embed({ log: { level: "silent" }, ...options });
  const session = await runtime.connect();
  await session.createStream({ name: "s", acceleration: "fast" });
  const [report] = runtime.explain("s");
  if (!report) throw new Error("there is no such stream");
  return report.decision;
}

const ruleOf = ({ candidates }: DecisionRecord, technology: string) =>
  candidates.find((candidate) => candidate.technology === technology);

it("a strategy of a configuration file binds streams, by rules that are named", async () => {
  const folder = mkdtempSync(join(tmpdir(), "insane-strategy-"));
  try {
    const file = join(folder, "insane.json");
    const because = { xdp: "the interface is somebody else's" };
    const rules = [{ name: "quiet", when: { acceleration: "fast" }, use: ["udp"], because }, { use: ["xdp", "udp"] }];
    const network = { enabled: true, address: "127.0.0.1" };
    writeFileSync(file, JSON.stringify({ network, strategy: { name: "house", rules } }));
    const decision = await decided(readSettings(file) as EmbedOptions);
    expect(decision).toMatchObject({ strategy: "house", datapath: "udp" });
    expect(ruleOf(decision, "udp")).toMatchObject({ verdict: "chosen", rule: "quiet" });
    expect(ruleOf(decision, "xdp")).toMatchObject({ verdict: "rejected", rule: "quiet" });
    expect(ruleOf(decision, "xdp")?.why).toContain("somebody else's");
    expect(decision.warnings.map(({ code }) => code)).toEqual(["W_FALLBACK_UDP"]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

it("a strategy that is code is asked with quality and capabilities, and is obeyed", async () => {
  const asked: unknown[] = [];
  const decision = await decided({
    network: { enabled: true, address: "127.0.0.1" },
    strategy: function mine(qos, capabilities) {
      asked.push(qos.acceleration, capabilities.map(({ technology }) => technology).join());
      return { technology: null, rule: "at home", why: "nothing of it is for others" };
    },
  });
  expect(asked.slice(0, 2)).toEqual(["fast", "shm,udp,xdp,dpdk,rdma"]);
  expect(decision).toMatchObject({ strategy: "mine", datapath: null });
  expect(ruleOf(decision, "udp")).toMatchObject({ verdict: "rejected", rule: "strategy" });
  expect(decision.warnings.map(({ code }) => code)).toContain("W_NO_NETWORK");
});

it("a strategy that answers what is not there is told of, and the default decides", async () => {
  const decision = await decided({
    network: { enabled: true, address: "127.0.0.1" },
    strategy: () => ({ technology: "rdma", rule: "wish", why: "it would be nice" }),
  });
  expect(decision).toMatchObject({ strategy: "default", datapath: "udp" });
  const [warning] = decision.warnings;
  expect(warning?.code).toBe("W_STRATEGY");
  expect(warning?.message).toContain("chose rdma, which is not available");
});
