// Attackers without a plan: for a minute they do at random what the tests in test/integration/hostile do on purpose, and
// several at a time, while two hosts and their applications exchange messages.
import { expect, it } from "vitest";
import { streamTag } from "../../src/protocol/qos.ts";
import { encodeNotification } from "../../src/protocol/rpc.ts";
import { Arena } from "../integration/hostile/arena.ts";
import type { Daemon } from "../integration/hostile/daemon.ts";
import { HostileClient, type HostileLink, QOS } from "../integration/hostile/hostile-client.ts";
import { bound, datagram, freePorts, HostilePeer, heartbeat } from "../integration/hostile/hostile-peer.ts";
import { mulberry } from "../integration/runtime/kills.ts";
import { eventually } from "../integration/runtime/processes.ts";

const seed = Number(process.env["INSANE_SEED"] ?? Date.now() % 1_000_000);
const MS = Number(process.env["INSANE_HOSTILE_MS"] ?? 60_000);
const CALM = "calm";
const VICTIM_CHANNEL = 66;

const random = mulberry(seed);
const upTo = (n: number): number => Math.floor(random() * n);
const pick = <T>(of: ReadonlyArray<T>): T => of[upTo(of.length)] as T;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** Sessions up to here are of those who do no harm, or watch. */
const LAST_INNOCENT = 40;
const NAMES = ["a", "b", "\u{1f41f}".repeat(50)];
const INTERESTING = [0, 1, 63, 64, 65, 1023, 1024, 0xffff, 0x10000, 0x7fffffff, 0x80000000 | 0, -1, -64];
const word = (): number => (random() < 0.5 ? pick(INTERESTING) : upTo(2 ** 32) | 0);

function scribble(link: HostileLink): void {
  switch (upTo(6)) {
    case 0:
      link.push(word(), word(), word(), word());
      return;
    case 1:
      link.giveBack(word());
      return;
    case 2:
      link.forwardTail = word();
      break;
    case 3:
      link.returnTail = word();
      break;
    case 4:
      for (let i = 0; i < 64; i++) link.words[upTo(link.words.length)] = word();
      break;
    default:
      for (const entry of link.pushed(link.returnTail).slice(0, 32)) link.giveBack(entry | (upTo(256) << 16));
      return;
  }
  link.ring();
}

const ORDERS: ReadonlyArray<() => readonly [string, unknown]> = [
  () => [
    "stream.open",
    { name: pick([CALM, "other", "third"]), qos: { ...QOS, maxMessage: pick([1, 4096, 65536, 2 ** 20]) } },
  ],
  () => [
    "stream.setQos",
    { stream: upTo(4), qos: { ...QOS, consumption: pick(["low", "high"]), batching: pick([true, false]) } },
  ],
  () => ["stream.setQos", { stream: upTo(4), qos: { ...QOS, acceleration: "fast" } }],
  () => [
    "stream.rebind",
    { session: LAST_INNOCENT + upTo(400), stream: CALM, technology: pick(["auto", "udp", "xdp"]) },
  ],
  () => ["channels.watch", { on: random() < 0.7 }],
  () => ["source.open", { stream: upTo(4), channel: pick([7, 8, VICTIM_CHANNEL]), name: pick(NAMES) }],
  () => ["sink.open", { stream: upTo(4), channel: pick([7, 8]), policy: { kind: "block" }, name: pick(NAMES) }],
  () => ["pool.open", { stream: upTo(4) }],
  () => ["pool.mapped", { stream: upTo(4) }],
  () => ["source.open", { stream: upTo(4), channel: pick([1, 2, 5, VICTIM_CHANNEL]) }],
  () => ["sink.open", { stream: upTo(4), channel: pick([1, 2, 5]), policy: { kind: "drop-newest" } }],
  () => ["sink.open", { stream: upTo(4), channel: 1, policy: { kind: "keep-last", depth: 1 + upTo(50) } }],
  () => ["source.close", { source: upTo(60) }],
  () => ["sink.close", { sink: upTo(60) }],
  () => ["stream.close", { stream: upTo(4) }],
  () => ["watch", { session: 0 }],
  () => ["status", {}],
  () => ["explain", {}],
  () => ["session.close", {}],
];

/** One attacker's life. */
async function attack(daemon: Daemon): Promise<void> {
  using client = new HostileClient(daemon.socket);
  if (random() < 0.1) return;
  const role = random() < 0.1 ? "operator" : "application";
  if (client.fd < 0 || (await client.hello({ name: "random", role }).catch(() => null)) === null) return;
  if (random() < 0.95) client.fling("session.mapped", {}, 1);
  if (random() < 0.2) client.instead.set(pick(["link.open", "link.update", "link.close"]), null);
  let gone = false;
  if (random() < 0.15) {
    const die = (): void => {
      gone = true;
      client.close();
    };
    // In the middle of what it is asked, with an answer or without.
    client.instead.set(pick(["link.open", "link.update", "link.close", "link.pools"]), ({ id }) => {
      if (random() < 0.5) client.refuse(id, { code: pick(["ECLOSED", "EINTERNAL", "nonsense"]), message: "no" });
      die();
    });
  }
  if (random() < 0.8) {
    client.fling("stream.open", { name: CALM, qos: QOS }, 2);
    client.fling("pool.open", { stream: 1 }, 3);
    client.fling("pool.mapped", { stream: 1 }, 4);
  }
  for (let step = 0; step < 5 + upTo(40) && !client.ended && !gone; step++) {
    const what = random();
    // Some at a time are read in one turn.
    if (what < 0.5) for (let i = upTo(4); i >= 0; i--) client.fling(...pick(ORDERS)(), 10 + 10 * step + i);
    else if (what < 0.53) client.raw(encodeNotification("link.fault", { link: upTo(6), what: "lies" }));
    else if (what < 0.55) client.raw(Uint8Array.from({ length: 1 + upTo(300) }, () => upTo(256)));
    else if (client.links.length > 0) for (let i = upTo(6); i >= 0; i--) scribble(pick(client.links));
    if (random() < 0.3) await pause(upTo(8));
    if (!gone) client.look();
  }
}

/** A hostile host's datagrams, for as long as it is wanted. */
async function disturb(peer: HostilePeer, wanted: () => boolean): Promise<void> {
  const tag = streamTag(CALM);
  const stranger = await bound(0);
  while (wanted()) {
    const flow = { flow: upTo(200), source: upTo(200), channel: pick([VICTIM_CHANNEL, 9999]), tag };
    switch (upTo(5)) {
      case 0:
        await peer.data(datagram({ ...flow, sequence: BigInt(upTo(1000)), body: new Uint8Array(upTo(100)) }));
        break;
      case 1:
        await peer.data(heartbeat(Array.from({ length: upTo(48) }, () => ({ ...flow, next: BigInt(upTo(2 ** 31)) }))));
        break;
      case 2:
        await peer.data(Uint8Array.from({ length: upTo(200) }, () => upTo(256)));
        break;
      case 3:
        peer.raw(Uint8Array.from({ length: upTo(300) }, () => upTo(256)));
        break;
      default:
        if (random() < 0.1) {
          const streams = [[pick([tag, upTo(1000)]), pick([CALM, "x"]), [1, upTo(5), 9999]] as const];
          const names = [[pick([CALM, "x"]), [[pick([7, 8, upTo(100)]), `${pick(NAMES)}${upTo(9)}`, 3]]] as const];
          await peer.announce(streams, undefined, random() < 0.5 ? (names as never) : []);
        } else if (random() < 0.05) {
          peer.bye();
          peer.id = `random-${upTo(2 ** 31)}`;
        }
    }
    if (random() < 0.1) await pause(1);
  }
  await new Promise<void>((done) => stranger.close(done));
}

it(`a minute of attacks at random leaves everybody else as they were (INSANE_SEED=${seed})`, async () => {
  await using arena = new Arena(8000);
  const [a = 0, b = 0, m = 0] = await freePorts(3);
  const network = { enabled: true, address: "127.0.0.1", helloIntervalMs: 100, silentAfterMs: 5000 };
  const listed = (...ports: number[]): string[] => ports.map((port) => `127.0.0.1:${port}`);
  const here = await arena.daemon({ name: "here", network: { ...network, port: a, dataPort: 0, peers: listed(b, m) } });
  const there = await arena.daemon({ name: "there", network: { ...network, port: b, dataPort: 0, peers: listed(a) } });
  const victim = arena.start("../hostile/victim.ts", "victim", [here.socket, CALM, String(VICTIM_CHANNEL)]);
  await victim.until((words) => words["connected"] === true, "it is connected");
  arena.others = 1;
  await arena.pair("local", here, here, CALM, 1);
  await arena.pair("out", here, there, CALM, 3);
  await arena.pair("back", there, here, CALM, 4);
  await arena.begin();
  await arena.attack(async () => {
    const port = (endpoint: string): number => Number(endpoint.split(":")[1]);
    const until = performance.now() + MS;
    const wanted = (): boolean => performance.now() < until;
    await using peer = await HostilePeer.start(m, { hello: port(here.hello), data: port(here.data) });
    const attackers = Array.from({ length: 4 }, async () => {
      while (wanted()) {
        await attack(here);
        await pause(upTo(5));
      }
    });
    await Promise.all([disturb(peer, wanted), ...attackers]);
  });
  const seen = (await victim.call("release"))["result"] as { thrown: string };
  expect(seen.thrown).toBe("");
  await eventually(
    () => here.status(),
    ({ links }) => links.every(({ outstanding }) => outstanding < 200),
  );
  await arena.end();
}, 600_000);
