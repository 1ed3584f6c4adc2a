// Datapaths that break, hang or crash because a test planted it: the streams on them move, what hangs is put aside, and
// nobody else notices. As root, because there has to be another datapath to move to.
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type NamespaceHost, networkTowards, noNamespaces, TwoHosts } from "./runtime/namespaces.ts";
import { decisionOf, eventually, Stage, statusOf, type TestProcess, type Words } from "./runtime/processes.ts";

const missing = noNamespaces();
const HELLO = 7500;
const PATIENCE_MS = 30_000;

const fast = { stream: "s", acceleration: "fast" };
const plain = { stream: "p", acceleration: "none" };

/** Two hosts; on A a fault of XDP waits for the file `armed` to be there. */
class Planted implements AsyncDisposable {
  readonly hosts = new TwoHosts();
  readonly near = new Stage(this.hosts.a.prefix);
  readonly far = new Stage(this.hosts.b.prefix);
  readonly armed = join(this.near.folder, "armed");
  da!: TestProcess;
  db!: TestProcess;
  source!: TestProcess;
  sink!: TestProcess;

  static async start(fault: string): Promise<Planted> {
    const planted = new Planted();
    try {
      await planted.#start(fault);
    } catch (error) {
      await planted[Symbol.asyncDispose]();
      throw error;
    }
    return planted;
  }

  async #start(fault: string): Promise<void> {
    const { hosts, near, far, armed } = this;
    const settings = (host: NamespaceHost, other: NamespaceHost, faults: Words | null): Words => ({
      network: networkTowards(host, other, HELLO, { faults }),
    });
    [this.da, this.db] = await Promise.all([
      near.daemon(settings(hosts.a, hosts.b, { xdp: `${fault},armed=${armed}` })),
      far.daemon(settings(hosts.b, hosts.a, null)),
    ]);
    [this.source, this.sink] = await Promise.all([near.application("source"), far.application("sink")]);
    for (const stream of [fast, plain]) {
      await this.sink.call("sink", stream);
      await this.source.call("source", stream);
    }
    expect((await decisionOf(this.source, fast)).datapath).toBe("xdp");
    for (const index of [0, 1]) await this.source.call("matched", { index });
    await this.exchange(0, 100);
    await this.exchange(1, 100);
  }

  arm(): void {
    writeFileSync(this.armed, "");
  }

  disarm(): void {
    if (existsSync(this.armed)) rmSync(this.armed);
  }

  /** The stream with that index goes on until `count` messages of it have been received, lost ones made good. */
  async exchange(index: number, count: number): Promise<void> {
    const received = async (): Promise<number> =>
      Number(((await this.sink.call("received", { index }))["result"] as Words)["count"]);
    const until = (await received()) + count;
    await this.source.call("emit", { index, size: 64, burst: 8, pace: 2 });
    await eventually(received, (now) => now >= until, PATIENCE_MS);
    await this.source.call("stop", { index });
    const seen = (await this.sink.call("received", { index }))["result"] as Words;
    expect(seen["faults"]).toEqual([]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.near[Symbol.asyncDispose]();
    await this.far[Symbol.asyncDispose]();
    this.hosts[Symbol.dispose]();
  }
}

describe.skipIf(missing !== "")(`a fault that is planted in XDP ${missing}`, { timeout: 180_000 }, () => {
  it("an error: the stream goes on over kernel UDP with a warning, and returns when it is healthy", async () => {
    await using planted = await Planted.start("fail_after=0");
    planted.arm();
    await planted.source.call("emit", { index: 0, size: 64, burst: 8, pace: 2 });
    await eventually(
      () => decisionOf(planted.source, fast),
      ({ datapath }) => datapath === "udp",
      PATIENCE_MS,
    );
    expect((await decisionOf(planted.source, fast)).warnings.map(({ code }) => code)).toContain("W_FALLBACK_UDP");
    await planted.source.call("stop", { index: 0 });
    await planted.exchange(0, 200);
    await planted.exchange(1, 200);
    expect((await statusOf(planted.da)).quarantined).toBe(0);
    planted.disarm();
    await eventually(
      () => decisionOf(planted.source, fast),
      ({ datapath }) => datapath === "xdp",
      PATIENCE_MS,
    );
    await planted.exchange(0, 200);
  });

  it("a hang: its engine is put aside and counted, the stream goes on over kernel UDP", async () => {
    await using planted = await Planted.start("hang_after=0");
    planted.arm();
    // Nobody wants anything of that engine: it is asked all the same.
    await eventually(
      () => decisionOf(planted.source, fast),
      ({ datapath }) => datapath === "udp",
      PATIENCE_MS,
    );
    await eventually(
      () => statusOf(planted.da),
      ({ quarantined }) => quarantined > 0,
      PATIENCE_MS,
    );
    await planted.exchange(0, 200);
    await planted.exchange(1, 200);
  });

  it("a crash: the runtime of that host dies, the other one serves on and takes its successor", async () => {
    await using planted = await Planted.start("crash_after=0");
    planted.arm();
    await planted.da.gone();
    expect(planted.da.exited).toMatchObject({ signal: "SIGABRT" });
    await eventually(
      () => planted.hosts.a.filtered,
      (filtered) => !filtered,
      PATIENCE_MS,
    );
    const { runtime, quarantined } = await statusOf(planted.db);
    expect(runtime.state).toMatch(/^running/);
    expect(quarantined).toBe(0);
  });
});
