// Applications in processes of their own, exchanging over direct links: everybody gets everything, in order, intact; and
// whoever dies or closes takes only its own with it.
import { describe, expect, it } from "vitest";
import type { StatusReport } from "../../src/runtime/api.ts";
import { eventually, Stage, type TestProcess } from "./runtime/processes.ts";

interface Received {
  readonly count: number;
  readonly from: Readonly<Record<string, { readonly count: number; readonly last: number; readonly gaps: number }>>;
  readonly faults: ReadonlyArray<string>;
}
const received = async (application: TestProcess, index = 0): Promise<Received> =>
  (await application.call("received", { index }))["result"] as Received;
const status = async (daemon: TestProcess): Promise<StatusReport> =>
  (await daemon.call("status"))["result"] as StatusReport;
const result = async (application: TestProcess, method: string, params = {}): Promise<Record<string, unknown>> =>
  (await application.call(method, params))["result"] as Record<string, unknown>;

/** Everything is home and nothing is left but what should be. */
const settled = (daemon: TestProcess, sessions: number): Promise<StatusReport> =>
  eventually(
    () => status(daemon),
    (seen) =>
      seen.slots.outstanding === 0 && seen.sessions.length === sessions && (sessions > 0 || seen.links.length === 0),
  );

describe("applications on one host", () => {
  it("exchange directly, each message once, in order and intact", async () => {
    await using stage = new Stage();
    const daemon = await stage.daemon();
    const camera = await stage.application("camera");
    const viewer = await stage.application("viewer");
    await viewer.call("sink", { channel: 5 });
    await camera.call("source", { channel: 5 });
    await camera.call("matched", { index: 0 });
    await camera.call("emit", { index: 0, count: 20_000, size: 200 });
    await camera.call("finished", { index: 0 });
    expect(await result(camera, "settled", { index: 0 })).toMatchObject({
      emitted: 20_000,
      consumed: 20_000,
      outstanding: 0,
    });
    const seen = await received(viewer);
    expect(seen.faults).toEqual([]);
    expect(seen.count).toBe(20_000);
    expect(Object.values(seen.from)).toMatchObject([{ count: 20_000, last: 19_999, gaps: 0 }]);
    const report = await status(daemon);
    expect(report.links).toMatchObject([{ kind: "direct", outstanding: 0 }]);
    expect(report.sessions.map(({ name }) => name).sort()).toEqual(["camera", "viewer"]);
    await Promise.all([camera.call("close"), viewer.call("close")]);
    await settled(daemon, 0);
  });

  it("all get every message: several sinks in several processes and in the emitting one", async () => {
    await using stage = new Stage();
    const daemon = await stage.daemon();
    const producer = await stage.application("producer");
    const others = await Promise.all(["a", "b", "c"].map((name) => stage.application(name)));
    for (const consumer of [...others, producer]) await consumer.call("sink", { channel: 1 });
    await others[0]?.call("sink", { channel: 1 });
    await producer.call("source", { channel: 1 });
    await producer.call("source", { channel: 2 });
    await producer.call("matched", { index: 0, count: 4 });
    await producer.call("emit", { index: 1, count: 500 });
    await producer.call("emit", { index: 0, count: 5000 });
    await producer.call("finished", { index: 0 });
    await producer.call("settled", { index: 0 });
    for (const [consumer, index] of [
      ...others.map((one) => [one, 0] as const),
      [producer, 0],
      [others[0], 1],
    ] as const) {
      const seen = await received(consumer as TestProcess, index);
      expect(seen.faults).toEqual([]);
      expect(Object.values(seen.from)).toMatchObject([{ count: 5000, last: 4999, gaps: 0 }]);
    }
    await settled(daemon, 4);
  });

  it("keep streams and channels apart", async () => {
    await using stage = new Stage();
    await stage.daemon();
    const producer = await stage.application("producer");
    const consumer = await stage.application("consumer");
    await consumer.call("sink", { stream: "one", channel: 1 });
    await consumer.call("sink", { stream: "two", channel: 1 });
    for (const stream of ["one", "two"])
      for (const channel of [1, 2]) await producer.call("source", { stream, channel });
    await producer.call("matched", { index: 0 });
    await producer.call("matched", { index: 2 });
    for (let index = 0; index < 4; index++) await producer.call("emit", { index, count: 1000, tag: index });
    for (const index of [0, 2]) {
      await producer.call("finished", { index });
      await producer.call("settled", { index });
    }
    expect(Object.keys((await received(consumer, 0)).from)).toEqual(["0"]);
    expect(Object.keys((await received(consumer, 1)).from)).toEqual(["2"]);
  });

  it("find each other in any order, and sinks that come later get what is emitted from then on", async () => {
    await using stage = new Stage();
    const daemon = await stage.daemon();
    const producer = await stage.application("producer");
    await producer.call("source", { channel: 1 });
    await producer.call("emit", { index: 0 });
    for (const name of ["early", "late"]) {
      const consumer = await stage.application(name);
      await consumer.call("sink", { channel: 1 });
      const seen = await eventually(
        () => received(consumer),
        ({ count }) => count > 1000,
      );
      expect(seen.faults).toEqual([]);
      expect(Object.values(seen.from).map(({ gaps }) => gaps)).toEqual([0]);
      await consumer.call("closeSink", { index: 0 });
    }
    await producer.call("stop", { index: 0 });
    await eventually(
      () => status(daemon),
      ({ links, slots }) => links.length === 0 && slots.outstanding === 0,
    );
  });

  it("a sink opens although a source does not answer, and is told whose", async () => {
    await using stage = new Stage();
    await stage.daemon();
    const busy = await stage.application("busy");
    const consumer = await stage.application("consumer");
    await busy.call("source", { channel: 1 });
    process.kill(busy.pid, "SIGSTOP");
    const opened = await result(consumer, "sink", { channel: 1 });
    expect(opened["unconfirmed"]).toMatchObject([{ name: expect.stringContaining("busy") }]);
    process.kill(busy.pid, "SIGCONT");
    await busy.call("matched", { index: 0 });
    await busy.call("emit", { index: 0, count: 10 });
    await eventually(
      () => received(consumer),
      ({ count }) => count === 10,
    );
  });

  it("that let a link wait for too long get it when they answer again, and only one", async () => {
    await using stage = new Stage();
    const daemon = await stage.daemon();
    const busy = await stage.application("busy");
    const producer = await stage.application("producer");
    await producer.call("source", { channel: 1 });
    await busy.call("sink", { channel: 2 });
    const opening = busy.call("sink", { channel: 1 });
    busy.tell({ method: "block", ms: 3000 });
    // The link is given up after a second, and not offered again until there is an answer.
    await eventually(
      () => status(daemon),
      ({ links }) => links.length === 0,
    );
    await opening;
    await producer.call("matched", { index: 0 });
    await producer.call("emit", { index: 0, count: 10 });
    await eventually(
      () => received(busy, 1),
      ({ count }) => count === 10,
    );
    expect((await status(daemon)).links.length).toBe(1);
  });

  it("a sink that holds on to messages blocks only its own source", async () => {
    await using stage = new Stage();
    const daemon = await stage.daemon({ link: { entries: 16 } });
    const producer = await stage.application("producer");
    const hoarder = await stage.application("hoarder");
    const consumer = await stage.application("consumer");
    await hoarder.call("sink", { channel: 1, hold: 1000 });
    await consumer.call("sink", { channel: 2 });
    await producer.call("source", { channel: 1 });
    await producer.call("source", { channel: 2 });
    await producer.call("matched", { index: 0 });
    await producer.call("matched", { index: 1 });
    await producer.call("emit", { index: 0 });
    await producer.call("emit", { index: 1, count: 3000 });
    await producer.call("finished", { index: 1 });
    await eventually(
      () => received(consumer),
      ({ count }) => count === 3000,
    );
    await eventually(
      () => received(hoarder),
      ({ count }) => count === 16,
    );
    // What the other one had is home, these are not.
    await eventually(
      () => status(daemon),
      ({ slots }) => slots.outstanding === 16,
    );
    await producer.call("stop", { index: 0 });
    await hoarder.call("closeSink", { index: 0 });
    await settled(daemon, 3);
  });

  it("a sink that may drop does not block", async () => {
    await using stage = new Stage();
    await stage.daemon({ link: { entries: 16 } });
    const producer = await stage.application("producer");
    const hoarder = await stage.application("hoarder");
    await hoarder.call("sink", { channel: 1, hold: 10, policy: { kind: "drop-newest" } });
    await producer.call("source", { channel: 1 });
    await producer.call("matched", { index: 0 });
    await producer.call("emit", { index: 0, count: 5000 });
    await producer.call("finished", { index: 0 });
    await hoarder.call("closeSink", { index: 0 });
    const stats = (await result(producer, "settled", { index: 0 })) as {
      emitted: number;
      consumed: number;
      dropped: Record<string, number>;
      abandoned: number;
    };
    const dropped = Object.values(stats.dropped).reduce((sum, count) => sum + count, 0);
    expect(stats.emitted).toBe(5000);
    expect(stats.consumed + dropped + stats.abandoned).toBe(5000);
  });

  it("exchange large messages", async () => {
    await using stage = new Stage();
    const daemon = await stage.daemon();
    const producer = await stage.application("producer");
    const consumer = await stage.application("consumer");
    const maxMessage = 4 * 1024 * 1024;
    await consumer.call("sink", { channel: 1, maxMessage: 1000 });
    await producer.call("source", { channel: 1, maxMessage });
    await producer.call("matched", { index: 0 });
    await producer.call("emit", { index: 0, count: 40, size: maxMessage });
    await producer.call("finished", { index: 0 });
    await producer.call("settled", { index: 0 });
    const seen = await received(consumer);
    expect(seen.faults).toEqual([]);
    expect(seen.count).toBe(40);
    await settled(daemon, 2);
  });

  it("that are killed take nothing with them", async () => {
    await using stage = new Stage();
    const daemon = await stage.daemon();
    const producer = await stage.application("producer");
    const survivor = await stage.application("survivor");
    const victim = await stage.application("victim");
    const other = await stage.application("other");
    for (const consumer of [survivor, victim]) await consumer.call("sink", { channel: 1, hold: 3 });
    await producer.call("source", { channel: 1 });
    await other.call("source", { channel: 1 });
    await victim.call("source", { channel: 1 });
    for (const source of [producer, other, victim]) {
      await source.call("matched", { index: 0, count: 2 });
      await source.call("emit", { index: 0 });
    }
    await eventually(
      () => received(survivor),
      ({ count }) => count > 3000,
    );
    await victim.kill();
    const before = (await received(survivor)).count;
    await eventually(
      () => received(survivor),
      ({ count }) => count > before + 3000,
    );
    for (const source of [producer, other]) await source.call("stop", { index: 0 });
    await survivor.call("closeSink", { index: 0 });
    for (const source of [producer, other]) {
      const stats = await result(source, "settled", { index: 0 });
      expect(stats).toMatchObject({ outstanding: 0 });
    }
    const seen = await received(survivor);
    expect(seen.faults).toEqual([]);
    for (const { gaps } of Object.values(seen.from)) expect(gaps).toBe(0);
    const report = await settled(daemon, 3);
    expect(report.quarantined).toBe(0);
    expect(report.links).toEqual([]);
  });

  it("are told when the runtime stops", async () => {
    await using stage = new Stage();
    const daemon = await stage.daemon();
    const application = await stage.application("application");
    await application.call("source", { channel: 1 });
    await daemon.call("close");
    await daemon.gone();
    expect(daemon.exited).toMatchObject({ code: 0 });
    void application;
  });
});
