// Applications of three users, two of them without any privilege, on one daemon: they send and receive over each datapath that
// the daemon has, and those of other users by copies of their domain's own. Over kernel UDP: runtime-trust.test.ts. As root.
import { describe, expect, it } from "vitest";
import type { ExplainReport } from "../../src/runtime/api.ts";
import { DRIVERS } from "./runtime/drivers.ts";
import { type NamespaceHost, networkTowards, TwoHosts } from "./runtime/namespaces.ts";
import { decisionOf, eventually, Stage, statusOf, type TestProcess, type Words } from "./runtime/processes.ts";

const PATIENCE_MS = 60_000;
const HELLO = 7580;
const NOBODY = 65_534;
const SOMEBODY = 65_533;
const COUNT = 200;
const fast = { stream: "s", acceleration: "fast", consumption: "high" };

describe.each(DRIVERS)("applications of several users over $technology $missing", (driver) => {
  const { technology, missing, strategy } = driver;
  it.skipIf(missing !== "")("send, and receive each what is theirs", { timeout: 180_000 }, async () => {
    using hosts = new TwoHosts();
    await using near = new Stage(hosts.a.prefix);
    await using far = new Stage(hosts.b.prefix);
    const daemon = (stage: Stage, host: NamespaceHost, other: NamespaceHost): Promise<TestProcess> =>
      stage.daemon({
        ...(strategy === undefined ? {} : { strategy }),
        network: networkTowards(host, other, HELLO, driver.network(host)),
        socketMode: 0o666,
      });
    const [here, there] = await Promise.all([daemon(near, hosts.a, hosts.b), daemon(far, hosts.b, hosts.a)]);
    const own = `user 0, group ${process.getgid?.()}`;
    const users = [
      ["own", undefined, own, false],
      ["one", NOBODY, `user ${NOBODY}, group ${NOBODY}`, true],
      ["other", SOMEBODY, `user ${SOMEBODY}, group ${SOMEBODY}`, true],
    ] as const;
    const sinks: TestProcess[] = [];
    for (const [name, user] of users) sinks.push(await far.application(name, user));
    for (const sink of sinks) await sink.call("sink", { ...fast, channel: 1 });
    const source = await near.application("source", NOBODY);
    await source.call("source", { ...fast, channel: 1 });
    for (const one of [source, ...sinks]) {
      await eventually(
        () => decisionOf(one, fast),
        ({ datapath }) => datapath === technology,
        PATIENCE_MS,
      );
    }
    // The sender has heard where each of them wants it now.
    await eventually(
      async () =>
        ((await here.call("explain"))["result"] as ExplainReport[])[0]?.peers.map(({ thereLane }) => thereLane),
      (lanes) => lanes?.join() === technology,
      PATIENCE_MS,
    );
    await source.call("matched", { index: 0 });
    await source.call("emit", { index: 0, size: 300, count: COUNT, burst: 10, pace: 1 });
    await source.call("finished", { index: 0 });
    for (const sink of sinks) {
      const seen = await eventually(
        async () => (await sink.call("received", { index: 0 }))["result"] as Words,
        ({ count }) => Number(count) >= COUNT,
        PATIENCE_MS,
      );
      expect(seen).toMatchObject({ count: COUNT, faults: [] });
    }
    const { engines } = await statusOf(there);
    const counters = engines.find(({ name }) => name === `engine ${technology}`)?.counters ?? {};
    expect([counters["rx_messages"], counters["rx_copied_domain"]]).toEqual([3 * COUNT, 2 * COUNT]);
    const [report] = (await there.call("explain"))["result"] as ExplainReport[];
    expect(report?.sessions.map(({ name, domain, copies }) => [name, domain, copies])).toEqual(
      users.map(([name, , domain, copies]) => [name, domain, copies]),
    );
  });
});
