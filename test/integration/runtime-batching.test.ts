// Messages that share datagrams, as applications on two hosts see them: each with its own bytes, sequence and times;
// counted by size; switched off by the stream's quality, also while it is open.
import { describe, expect, it } from "vitest";
import { batchShares, sentBatches } from "../../src/apps/cli/batches.ts";
import { type EmbeddedRuntime, type Message, type Qos, Runtime, type Source } from "../../src/index.ts";
import { eventually } from "./runtime/processes.ts";

const CHANNEL = 4;
const SIZES = [8, 64, 300, 9, 1024, 40, 1500, 8, 8, 0];

async function lane(quality: Partial<Qos> = {}) {
  const start = (name: string, peers: string[]): Promise<EmbeddedRuntime> =>
    Runtime.embed({
      name,
      log: { level: "silent" },
      network: { helloIntervalMs: 50, silentAfterMs: 5000, peers },
      engine: { mode: "inline" },
    });
  const a = await start("A", []);
  const b = await start("B", [`127.0.0.1:${a.port}`]);
  a.addPeer(`127.0.0.1:${b.port}`);
  const [sa, sb] = await Promise.all([a.connect(), b.connect()]);
  const stream = await sa.createStream({ name: "s", ...quality });
  const sink = await (await sb.createStream({ name: "s", ...quality })).createSink(CHANNEL);
  const source = await stream.createSource(CHANNEL);
  await source.matched();
  const counters = (of: EmbeddedRuntime): Readonly<Record<string, number>> => of.status().engines[0]?.counters ?? {};
  return {
    a,
    b,
    sa,
    sb,
    stream,
    sink,
    source,
    counters,
    async take(count: number): Promise<Message[]> {
      const messages: Message[] = [];
      await eventually(
        () => {
          sb.poll();
          for (let m = sink.tryConsume(); m !== null; m = sink.tryConsume()) messages.push(m);
          return messages.length;
        },
        (length) => length === count,
      );
      return messages;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([a.close(), b.close()]);
    },
  };
}

const sizeOf = (i: number): number => SIZES[i % SIZES.length] as number;

function burst(source: Source, from: number, count: number): void {
  for (let i = from; i < from + count; i++) {
    const buffer = source.getBuffer(sizeOf(i));
    buffer.bytes.fill(i & 0xff);
    source.emit(buffer, true);
  }
  source.flush();
}

function verify(messages: ReadonlyArray<Message>, source: Source, begun: number): void {
  messages.forEach((message, i) => {
    expect(message.sequence).toBe(i);
    expect(message.source).toBe(source.id);
    expect(message.bytes).toEqual(new Uint8Array(sizeOf(i)).fill(i & 0xff));
    expect(message.copy()).toEqual(new Uint8Array(sizeOf(i)).fill(i & 0xff));
    // Clocks of one host, but different ones: some milliseconds of patience.
    expect(message.emitTime).toBeGreaterThan(begun - 20);
    expect(message.emitTime).toBeLessThan(Date.now() + 20);
    expect(message.receiveTime).toBeGreaterThan(begun - 20);
    expect(message.receiveTime).toBeLessThan(Date.now() + 20);
  });
}

describe("messages that are ready at the same time", () => {
  it("share datagrams, and each has its own bytes, sequence and times", async () => {
    await using hosts = await lane();
    const begun = Date.now();
    burst(hosts.source, 0, 100);
    const messages = await hosts.take(100);
    verify(messages, hosts.source, begun);
    for (const message of [...messages].reverse()) message.release();
    await hosts.source.settled();
    const sent = hosts.counters(hosts.a);
    expect(sent["tx_messages"]).toBe(100);
    expect(sent["tx_coalesced"]).toBeGreaterThan(50);
    expect(sent["tx_datagrams"]).toBe(sentBatches(sent).reduce((sum, count) => sum + count, 0));
    expect(batchShares({}, sent)).toMatch(/\d+-\d+: \d+ %/);
    expect(hosts.counters(hosts.b)).toMatchObject({ rx_coalesced: sent["tx_coalesced"], rx_lost: 0 });
    await eventually(
      () => {
        hosts.sb.poll();
        return hosts.counters(hosts.b)["slots_out"];
      },
      (out) => out === 0,
    );
  });

  it("that are held when their runtime closes stay what they were", async () => {
    await using hosts = await lane();
    const begun = Date.now();
    burst(hosts.source, 0, 30);
    const messages = await hosts.take(30);
    await hosts.b.close();
    verify(messages, hosts.source, begun);
    for (const message of messages) message.release();
  });

  it("leave one by one where the stream's quality says so, from the beginning or later", async () => {
    await using hosts = await lane({ batching: false });
    burst(hosts.source, 0, 50);
    for (const message of await hosts.take(50)) message.release();
    expect(hosts.counters(hosts.a)).toMatchObject({ tx_messages: 50, tx_datagrams: 50, tx_coalesced: 0 });
    expect(hosts.a.explain("s")[0]?.decision.qos.batching).toBe(false);
    await hosts.stream.setQos({ batching: true });
    expect(hosts.a.explain("s")[0]?.decision.qos.batching).toBe(true);
    burst(hosts.source, 50, 50);
    for (const message of await hosts.take(50)) message.release();
    expect(hosts.counters(hosts.a)["tx_coalesced"]).toBeGreaterThan(20);
  });
});
