// An operator chooses the technology of an open stream, whatever the strategy says: the decision record says so, and
// nothing but what is available is ever used.
import { describe, expect, it } from "vitest";
import type { DecisionRecord } from "../../src/protocol/control.ts";
import { Insane } from "./cli/command-line.ts";
import { networkTowards, noNamespaces, TwoHosts } from "./runtime/namespaces.ts";
import { decisionOf, eventually, Stage, statusOf } from "./runtime/processes.ts";

const missing = noNamespaces();
const fast = { stream: "s", acceleration: "fast" };

describe.skipIf(missing !== "")(`the technology of an open stream ${missing}`, { timeout: 120_000 }, () => {
  it("is what an operator says, as far as it is available, until it is the strategy's again", async () => {
    using hosts = new TwoHosts();
    await using stage = new Stage(hosts.a.prefix);
    const daemon = await stage.daemon({ network: networkTowards(hosts.a, hosts.b, 7700, {}) });
    const app = await stage.application("app");
    await app.call("source", fast);
    await eventually(
      () => decisionOf(app, fast),
      ({ datapath }) => datapath === "xdp",
    );
    const session = String((await statusOf(daemon)).sessions.find(({ name }) => name.startsWith("app"))?.id);
    const force = async (to: string): Promise<DecisionRecord> => {
      const insane = new Insane(["set-qos", session, "s", "--to", to, "--json", "--socket", stage.socket]);
      expect(await insane.exit, insane.err).toBe(0);
      return insane.json();
    };
    const rejected = ({ candidates }: DecisionRecord, technology: string) =>
      candidates.find((candidate) => candidate.technology === technology);

    const udp = await force("udp");
    expect(udp).toMatchObject({ datapath: "udp", strategy: "operator" });
    expect(rejected(udp, "udp")).toMatchObject({ verdict: "chosen", rule: "forced" });
    expect(rejected(udp, "xdp")).toMatchObject({ rule: "forced", why: "an operator has chosen udp for it" });
    expect((await decisionOf(app, fast)).datapath).toBe("udp");

    const rdma = await force("rdma");
    expect(rdma).toMatchObject({ datapath: "xdp", strategy: "default" });
    expect(rdma.warnings.map(({ code }) => code)).toContain("W_STRATEGY");

    expect(await force("xdp")).toMatchObject({ datapath: "xdp", strategy: "operator", warnings: [] });
    expect(await force("auto")).toMatchObject({ datapath: "xdp", strategy: "default", warnings: [] });
    expect((await decisionOf(app, fast)).strategy).toBe("default");
  });
});
