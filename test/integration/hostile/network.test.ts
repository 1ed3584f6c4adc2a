// Attacks by a host that is listed as a peer and keeps to nothing, and by those that nobody listed.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { streamTag } from "../../../src/protocol/qos.ts";
import { WIRE, WIRE_TYPE } from "../../../src/protocol/wire.ts";
import { eventually, type TestProcess } from "../runtime/processes.ts";
import type { Arena } from "./arena.ts";
import type { Daemon } from "./daemon.ts";
import { HostileClient } from "./hostile-client.ts";
import { bound, datagram, HostilePeer, heartbeat } from "./hostile-peer.ts";
import { CALM, endOf, type TwoHosts, twoHosts, VICTIM_CHANNEL } from "./two-hosts.ts";

const TAG = streamTag(CALM);

let hosts: TwoHosts;
let arena: Arena;
let here: Daemon;
let there: Daemon;
let victim: TestProcess;

beforeAll(async () => {
  hosts = await twoHosts();
  ({ arena, here, there, victim } = hosts);
});
afterAll(async () => {
  await arena?.[Symbol.asyncDispose]();
});

describe("a host", () => {
  const port = (endpoint: string): number => Number(endpoint.split(":")[1]);
  const mallory = async (work: (peer: HostilePeer) => Promise<void>): Promise<void> => {
    await using peer = await HostilePeer.start(hosts.third, { hello: port(here.hello), data: port(here.data) });
    await work(peer);
  };
  /** Known to the target as a peer that is alive. */
  const known = async (peer: HostilePeer, streams: Parameters<HostilePeer["announce"]>[0] = []): Promise<void> => {
    await peer.announce(streams);
    await eventually(
      () => here.status(),
      ({ peers }) => peers.some(({ name, state }) => name === "mallory" && /^alive/.test(state)),
    );
    await eventually(
      () => here.counter("peers"),
      (count) => count === 2,
    );
  };
  const seen = async (): Promise<{ messages: number; thrown: string }> =>
    (await victim.call("seen"))["result"] as { messages: number; thrown: string };

  /** Whoever comes now is still found, from the other host as well. */
  const latecomersMeet = async (): Promise<void> => {
    const late = await arena.application(there, "late");
    const source = await arena.application(here, "late source");
    try {
      await late.call("sink", { channel: 4, stream: CALM });
      await source.call("source", { channel: 4, stream: CALM });
      await Promise.race([
        source.call("matched", { index: 0 }),
        new Promise((_, reject) => setTimeout(() => reject(new Error("nobody was found in 20 s")), 20_000)),
      ]);
      await source.call("emit", { index: 0, tag: 4, count: 20 });
      await eventually(
        async () => (await late.call("received", { index: 0 }))["result"] as { count: number },
        ({ count }) => count === 20,
      );
    } finally {
      await Promise.all([late.kill(), source.kill()]);
    }
  };

  const garbage: ReadonlyArray<readonly [string, (i: number) => Uint8Array, string]> = [
    ["shorter than a header", (i) => new Uint8Array(i % 48), "rx_bad_short"],
    ["with another magic", (i) => new Uint8Array(48 + (i % 100)).fill(i), "rx_bad_magic"],
    ["of a type that is none", () => datagram({ type: 77 }), "rx_bad_type"],
    ["of a type that belongs elsewhere", () => datagram({ type: WIRE_TYPE.HELLO }), "rx_bad_type"],
    ["that is a status of nothing", () => datagram({ type: WIRE_TYPE.STATUS }), "rx_bad_length"],
    ["longer in the header than on the wire", () => datagram({ length: 5000 }), "rx_bad_length"],
    ["of 2^32 - 1 bytes by its header", () => datagram({ length: 0xffffffff }), "rx_bad_length"],
    [
      "that is half a heartbeat",
      () => datagram({ type: WIRE_TYPE.HEARTBEAT, body: new Uint8Array(30) }),
      "rx_bad_length",
    ],
    ["for channels that nobody wants", (i) => datagram({ tag: i, channel: i, flow: i }), "rx_no_subscriber"],
  ];
  it.each(garbage)("that sends datagrams %s is counted", async (_, make, counter) => {
    await arena.attack(() =>
      mallory(async (peer) => {
        await known(peer);
        const before = await here.counter(counter);
        for (let i = 1; i <= 200; i++) await peer.data(make(i));
        await eventually(
          () => here.counter(counter),
          (count) => count >= before + 190,
        );
      }),
    );
  });

  it("that is not known is counted, and its messages go nowhere", async () => {
    await arena.attack(async () => {
      const stranger = await bound(0);
      const before = await here.counter("rx_unknown_peer");
      const { messages } = await seen();
      for (let i = 0; i < 200; i++) {
        stranger.send(
          datagram({ tag: TAG, channel: VICTIM_CHANNEL, sequence: BigInt(i) }),
          port(here.data),
          "127.0.0.1",
        );
      }
      await eventually(
        () => here.counter("rx_unknown_peer"),
        (count) => count >= before + 190,
      );
      expect((await seen()).messages).toBe(messages);
      await new Promise<void>((done) => stranger.close(done));
    });
  });

  it("that sends hello frames of garbage is counted and dropped", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        for (let i = 0; i < 3000; i++) {
          const bytes = datagram({ type: i % 2 ? WIRE_TYPE.HELLO : i & 255, body: new Uint8Array(i % 900).fill(i) });
          peer.raw(i % 3 === 0 ? bytes.subarray(0, i % 60) : bytes);
          if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
      }),
    );
  });

  it("that floods with hellos of ever new incarnations is one peer", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        const until = performance.now() + 700;
        for (let i = 0; performance.now() < until; i++) {
          peer.id = `m${i}`;
          peer.version = 1;
          peer.hello({ index: 0, endpoints: [], technologies: [], streams: [[TAG, CALM, [i]]] });
          if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        expect((await here.status()).peers.length).toBe(2);
      }),
    );
  });

  it("that nobody listed, and many such, are told of and not answered", async () => {
    await arena.attack(async () => {
      const sockets = await Promise.all(Array.from({ length: 150 }, () => bound(0)));
      let answers = 0;
      for (const socket of sockets) socket.on("message", () => answers++);
      await mallory(async (peer) => {
        peer.version = 1;
        for (const socket of sockets) {
          const frame = datagram({ type: WIRE_TYPE.HELLO, body: Uint8Array.of(0x80) });
          for (let i = 0; i < 5; i++) socket.send(frame, port(here.hello), "127.0.0.1");
        }
        await arena.calm(200);
      });
      expect(answers).toBe(0);
      await Promise.all(sockets.map((socket) => new Promise<void>((done) => socket.close(done))));
    });
  });

  it("that comes, wants everything and goes, again and again, leaves no link behind", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        for (let i = 0; i < 60; i++) {
          peer.id = `brief-${i}`;
          await peer.announce([[TAG, CALM, [1, 2, 9, i % 5]]]);
          if (i % 3 !== 0) await new Promise((resolve) => setTimeout(resolve, i % 7));
          peer.bye();
        }
      }),
    );
  });

  it("whose names are longer than a frame has room for does not end the runtime that tells of them", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        using watching = await HostileClient.attach(here.socket, "watching");
        await watching.must("channels.watch", { on: true });
        const at = { address: "127.0.0.1", port: peer.dataPort };
        const long = "\u{1f41f}".repeat(190);
        const channels = Array.from({ length: 200 }, (_, i) => [i, `${long}${i}`, 3] as const);
        await peer.announce([[TAG, CALM, [1]]], at, [["long", channels]]);
        await arena.calm(300);
        // Names as long as they may be are told, all of them.
        const most = "\u{1f41f}".repeat(49);
        const short = channels.map(([i]) => [i, `${most}${i}`, 3] as const);
        await peer.announce([[TAG, CALM, [1]]], at, [[most, short]]);
        const told = new Set<string>();
        let looked = 0;
        await watching.until((frames) => {
          for (const frame of frames.slice(looked)) {
            if (frame.type !== "notification" || frame.method !== "channels.changed") continue;
            for (const { name } of (frame.params as { channels: Array<{ name: string }> }).channels) told.add(name);
          }
          looked = frames.length;
          return told.size >= 200 || undefined;
        }, "the names");
      }),
    );
  });

  it("that lies about its pages is never believed to be complete", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        peer.version = 5;
        const page = { index: 0, endpoints: [], technologies: [], streams: [] };
        for (let i = 0; i < 50; i++) {
          peer.hello({ ...page, index: i % 3 }, { pages: 1024 });
          peer.hello(page, { pages: 7 + i });
          peer.hello(null, { pages: 1024, seen: { id: "nobody", version: 9, missing: [1023, 0, 5] } });
        }
        await arena.calm(200);
        const { peers } = await here.status();
        expect(peers.find(({ name }) => name === "mallory")?.state ?? "").not.toMatch(/^alive/);
      }),
    );
  });

  it("that asks for pages again and again gets no more than it sends", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        await known(peer);
        await arena.calm(100);
        const { id, version } = peer.heard.at(-1) ?? { id: "", version: 0 };
        const before = peer.heard.length;
        for (let i = 0; i < 1000; i++) {
          peer.hello(null, { seen: { id, version: version - (i % 2), missing: [0] } });
          if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        await arena.calm(200);
        expect(peer.heard.length - before).toBeLessThan(1200);
      }),
    );
  });

  it("that takes the name and incarnation of another is itself alone", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        await known(peer);
        const { peers, runtime } = await here.status();
        const other = peers.find(({ name }) => name === "there");
        for (const id of [other?.id ?? "", runtime.id]) {
          peer.hello(null, { id, name: "there", bye: false });
          peer.hello(
            { index: 0, endpoints: [], technologies: [], streams: [] },
            { id, name: "there", version: 1, pages: 1 },
          );
          peer.hello(null, { id, name: "there", bye: true });
        }
        await arena.calm(500);
        expect((await here.status()).peers.find(({ id }) => id === other?.id)?.state).toMatch(/^alive/);
      }),
    );
  });

  it("that claims the tag of a stream for another name is refused", async () => {
    await arena.attack(
      () =>
        mallory(async (peer) => {
          await known(peer, [[TAG, "another name", [1, 2, VICTIM_CHANNEL]]]);
          await arena.calm(200);
          // It gets nothing of what is sent on that tag.
          const messages = peer.received.filter((bytes) => bytes[WIRE.TYPE] === WIRE_TYPE.DATA);
          expect(messages.length).toBe(0);
        }),
      /W_TAG_COLLISION/,
    );
  });

  it.each([
    ["of another peer", (): number => port(there.data), /W_PEER_REFUSED/],
    ["of its target", (): number => port(here.data), undefined],
    ["that is nobody's", (): number => 9, undefined],
  ] as const)("that names the endpoint %s as its own takes nothing from anybody", async (_, at, told) => {
    await arena.attack(
      () =>
        mallory(async (peer) => {
          await peer.announce([[TAG, CALM, [1, 2, VICTIM_CHANNEL]]], { address: "127.0.0.1", port: at() });
          await arena.calm(500);
          await latecomersMeet();
        }),
      told,
    );
  });

  it("that wants more channels than there is room for does not keep others from theirs", async () => {
    await arena.attack(
      () =>
        mallory(async (peer) => {
          const channels = Array.from({ length: 70_000 }, (_, i) => i + 1000);
          await peer.announce([[TAG, CALM, channels]]);
          await expect.poll(() => JSON.stringify(here.log), { timeout: 20_000 }).toMatch(/W_ANNOUNCEMENT_CUT/);
          await latecomersMeet();
          // And what is new here finds room as well.
          const sink = await arena.application(here, "late sink");
          await sink.call("sink", { channel: 5, stream: CALM });
          await sink.kill();
        }),
      /W_ANNOUNCEMENT_CUT/,
    );
  });

  it("that sends on ever new flows fills its own share of the trackers", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        await known(peer);
        for (let i = 0; i < 9000; i++) {
          await peer.data(datagram({ tag: TAG, channel: VICTIM_CHANNEL, flow: i, source: i, body: new Uint8Array(8) }));
        }
        await victim.call("release");
        await eventually(
          () => here.counter("trackers_evicted"),
          (count) => count > 4000,
        );
        expect(await here.counter("trackers")).toBeLessThan(4200);
      }),
    );
  });

  it("that replays what it has sent is heard once", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        await known(peer);
        const { messages } = await seen();
        const late = await here.counter("rx_late");
        const send = (sequence: bigint): Promise<void> =>
          peer.data(
            datagram({
              tag: TAG,
              channel: VICTIM_CHANNEL,
              flow: 123_456,
              source: 9,
              sequence,
              body: new Uint8Array(8),
            }),
          );
        for (let round = 0; round < 20; round++) for (const sequence of [0n, 1n, 2n]) await send(sequence);
        await eventually(
          () => here.counter("rx_late"),
          (count) => count === late + 57,
        );
        await eventually(seen, (now) => now.messages === messages + 3);
      }),
    );
  });

  it("that changes what a flow is, or leaps absurdly, is not believed", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        await known(peer);
        const bad = await here.counter("rx_bad_flow");
        const lost = await here.counter("rx_lost");
        const flow = { tag: TAG, channel: VICTIM_CHANNEL, flow: 777, source: 9, body: new Uint8Array(8) };
        await peer.data(datagram({ ...flow, sequence: 0n }));
        await peer.data(datagram({ ...flow, channel: 2, sequence: 1n }));
        await peer.data(datagram({ ...flow, source: 10, sequence: 1n }));
        await peer.data(datagram({ ...flow, sequence: 2n ** 63n }));
        await peer.data(datagram({ ...flow, sequence: 2n ** 64n - 1n }));
        const beat = { flow: 777, tag: TAG, channel: VICTIM_CHANNEL, source: 9 };
        await peer.data(heartbeat([{ ...beat, next: 2n ** 64n - 1n }]));
        await peer.data(heartbeat([{ ...beat, next: 2n ** 41n }]));
        await eventually(
          () => here.counter("rx_bad_flow"),
          (count) => count === bad + 6,
        );
        expect(await here.counter("rx_lost")).toBe(lost);
      }),
    );
  });

  it("that tells of losses on thousands of flows does not drown who is told", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        await known(peer);
        for (let round = 1; round <= 4; round++) {
          for (let first = 0; first < 3840; first += 48) {
            await peer.data(
              heartbeat(
                Array.from({ length: 48 }, (_, i) => ({
                  flow: 500_000 + first + i,
                  tag: TAG,
                  channel: VICTIM_CHANNEL,
                  source: first + i,
                  next: BigInt(round * 10),
                })),
              ),
            );
          }
          await new Promise((resolve) => setTimeout(resolve, 30));
        }
        await arena.calm(500);
        expect(victim.exited).toBeNull();
        expect(victim.heard.some((words) => words["closed"] !== undefined)).toBe(false);
      }),
    );
  });
});

it("in the end everything that was emitted has arrived, and no slot is out", async () => {
  await endOf(hosts);
});
