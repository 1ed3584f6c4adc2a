// What carries a stream, between a machine and a host that the test plays: what kept it from moving may pass without
// another word.
import { expect, it } from "vitest";
import type { StreamEvent } from "../../models/stream.ts";
import { ManualClock } from "../../src/actors/clock.ts";
import type { Host } from "../../src/actors/host.ts";
import { StreamMoves } from "../../src/actors/stream-moves.ts";
import type { DecisionRecord } from "../../src/protocol/control.ts";
import type { NetworkTechnology } from "../../src/protocol/qos.ts";

function stage() {
  const clock = new ManualClock();
  const sent: StreamEvent[] = [];
  const played = {
    decides: "udp" as NetworkTechnology,
    reached: new Map<NetworkTechnology, number[]>([["udp", [1]]]),
    egress: new Map<NetworkTechnology, object>(),
    said: [] as string[],
  };
  const host = {
    world: { clock },
    prepare: () => null,
    decide: () => ({ datapath: played.decides, warnings: [] }) as unknown as DecisionRecord,
    remote: (over: NetworkTechnology | null) => (over === null ? [] : (played.reached.get(over) ?? [])),
    membersChanged: () => {},
    config: { rebind: { patienceMs: 100 } },
    release: async () => void played.said.push("let go"),
    broker: {
      linkOver: (kind: string, _: number, __: string, technology: NetworkTechnology) =>
        kind === "egress" ? played.egress.get(technology) : undefined,
    },
  } as unknown as Host;
  const moves = new StreamMoves({
    host,
    session: 1,
    stream: "s",
    qos: () => ({}) as never,
    whose: () => ({ stream: "s", forced: null, trustDomain: "" }),
    channels: () => ({ sources: new Set([1]), sinks: new Set() }),
    stranded: () => false,
    soon: (work) => void Promise.resolve().then(work),
    send: (event) => void sent.push(event),
    confirmed: () => {},
  });
  moves.bind();
  moves.settle();
  sent.length = 0;
  const pass = async (ms: number): Promise<void> => {
    for (let at = 0; at < ms; at += 3) {
      clock.advance(3);
      for (let i = 0; i < 6; i++) await Promise.resolve();
    }
  };
  return { moves, played, sent, pass };
}

it("a stream that could not move at once to what came up moves as soon as that reaches everybody", async () => {
  const { moves, played, sent, pass } = stage();
  played.decides = "xdp";
  moves.prepare();
  await pass(2000);
  expect(sent.map(({ type }) => type)).toEqual(["unbindable"]);
  moves.callOff();
  // Nobody who looks in vain says so.
  await pass(5000);
  expect(sent.length).toBe(1);
  played.reached.set("xdp", [1]);
  await pass(8000);
  expect(sent.slice(1)).toEqual([{ type: "rebind", reason: "appeared" }]);
  moves.prepare();
  await pass(10);
  expect(sent.at(-1)).toMatchObject({ type: "prepared", datapath: "xdp" });
});

it("one that has ended, or is where it should be, looks no more", async () => {
  for (const end of ["stop", "settle"] as const) {
    const { moves, played, sent, pass } = stage();
    played.decides = "xdp";
    moves.callOff();
    if (end === "settle") played.decides = "udp";
    moves[end]();
    played.decides = "xdp";
    played.reached.set("xdp", [1]);
    await pass(20_000);
    expect(sent).toEqual([]);
  }
});

it("what is opened while it moves is let go when it is open, not before: it would hold for good", async () => {
  const { moves, played, sent, pass } = stage();
  played.decides = "xdp";
  played.reached.clear();
  for (const step of ["prepare", "drain", "mark"] as const) {
    moves[step]();
    await pass(10);
  }
  // Now somebody wants it over there.
  let opened = (): void => {};
  const confirmed = new Promise<boolean>((resolve) => {
    opened = () => resolve(true);
  });
  const life = { outcome: null };
  played.egress.set("xdp", { state: "offered", confirmed: () => confirmed, life, spec: { id: 1, kind: "egress" } });
  moves.switch();
  await pass(10);
  expect(sent.map(({ type }) => type)).toEqual(["prepared", "drained", "echoed", "switched"]);
  expect(played.said).toEqual([]);
  opened();
  await pass(10);
  expect(played.said).toEqual(["let go"]);
});

/** A link that its application takes when `stands`; until then it is opened in vain, as often as that is asked. */
const fickleLink = () => ({
  stands: false,
  asked: 0,
  state: "offered",
  life: { outcome: null },
  spec: { id: 1, kind: "egress" },
  confirmed(): Promise<boolean> {
    this.asked++;
    return Promise.resolve(this.stands);
  },
});

it("does not move before its new links stand: one that its application did not take in time is opened again", async () => {
  const { moves, played, sent, pass } = stage();
  played.decides = "xdp";
  played.reached.set("xdp", [1]);
  moves.prepare();
  await pass(10);
  expect(sent).toMatchObject([{ type: "prepared", datapath: "xdp" }]);
  const link = fickleLink();
  played.egress.set("xdp", link);
  moves.drain();
  await pass(300);
  expect(link.asked).toBeGreaterThan(10);
  expect([sent.length, moves.datapath, moves.receives]).toEqual([1, "xdp", "udp"]);
  link.stands = true;
  await pass(10);
  expect(sent.slice(1)).toEqual([{ type: "drained" }]);
});

it("a move that is over waits for its links no more", async () => {
  const { moves, played, sent, pass } = stage();
  played.decides = "xdp";
  played.reached.set("xdp", [1]);
  moves.prepare();
  await pass(10);
  const link = fickleLink();
  played.egress.set("xdp", link);
  moves.drain();
  await pass(30);
  moves.callOff();
  await pass(10);
  const { asked } = link;
  await pass(300);
  expect(link.asked).toBe(asked);
  expect(sent.some(({ type }) => type === "drained")).toBe(false);
});
