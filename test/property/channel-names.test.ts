// Names of channels against a list of who uses them: what is claimed, who collides, what watchers know in the end.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { NamedChannelRecord } from "../../src/protocol/control.ts";
import { ChannelNames } from "../../src/runtime/channel-names.ts";

const channel = fc.constantFrom(1, 2);
const name = fc.constantFrom("a", "b", "c");
const stream = fc.constantFrom("s", "t");
const role = fc.constantFrom("sources" as const, "sinks" as const);
const peer = fc.constantFrom(1, 2);
const ofPeer = fc.uniqueArray(fc.record({ stream, channel, name, sources: fc.constant(true), sinks: fc.boolean() }), {
  maxLength: 4,
  selector: (one) => `${one.stream}${one.channel}${one.name}`,
});
const step = fc.oneof(
  fc.record({ do: fc.constant("claim" as const), stream, channel, name, role }),
  fc.record({ do: fc.constant("release" as const), which: fc.nat(20) }),
  fc.record({ do: fc.constant("peer" as const), peer, names: ofPeer }),
  fc.record({ do: fc.constant("turn" as const) }),
);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("names of channels", () => {
  it("are those that somebody uses, and nobody claims one of another's channel", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const names = new ChannelNames();
        const claims: Array<{ key: string; at: string; name: string; role: string; release(): void }> = [];
        const peers = new Map<
          number,
          ReadonlyArray<(typeof ofPeer extends fc.Arbitrary<infer T> ? T : never)[number]>
        >();
        const seen = new Map<string, NamedChannelRecord>();
        const keyOf = (one: { stream: string; channel: number; name: string }): string =>
          `${one.stream} ${one.channel} ${one.name}`;
        names.watch((channels) => {
          for (const one of channels) {
            if (one.sources + one.sinks === 0) seen.delete(keyOf(one));
            else seen.set(keyOf(one), one);
          }
        });
        for (const one of steps) {
          if (one.do === "claim") {
            const at = `${one.stream} ${one.channel}`;
            const others = [...peers.values()].flatMap((list) =>
              list.filter((other) => `${other.stream} ${other.channel}` === at).map((other) => other.name),
            );
            const holders = [...claims.filter((claim) => claim.at === at).map((claim) => claim.name), ...others];
            const claim = () => names.claim(one.stream, one.channel, one.name, one.role);
            if (holders.some((holder) => holder !== one.name)) expect(claim).toThrow(/same channel/);
            else claims.push({ key: keyOf(one), at, name: one.name, role: one.role, release: claim() });
          } else if (one.do === "release") {
            const [gone] = claims.splice(one.which % Math.max(1, claims.length), 1);
            gone?.release();
            gone?.release();
          } else if (one.do === "peer") {
            peers.set(one.peer, one.names);
            names.peer(one.peer, one.names);
          } else await turn();
        }
        await turn();
        const expected = new Map<string, { sources: number; sinks: number }>();
        const add = (key: string, sources: boolean, sinks: boolean): void => {
          const of = expected.get(key) ?? { sources: 0, sinks: 0 };
          expected.set(key, { sources: of.sources + (sources ? 1 : 0), sinks: of.sinks + (sinks ? 1 : 0) });
        };
        for (const { key, role: as } of claims) add(key, as === "sources", as === "sinks");
        for (const list of peers.values()) for (const one of list) add(keyOf(one), one.sources, one.sinks);
        const known = [...seen].map(([key, { sources, sinks }]) => [key, { sources, sinks }] as const);
        expect(new Map(known)).toEqual(expected);
        const late: string[] = [];
        names.watch((channels) => late.push(...channels.map(keyOf)));
        expect(late.toSorted()).toEqual([...expected.keys()].toSorted());
        expect(names.own.length).toBe(new Set(claims.map(({ key }) => key)).size);
      }),
      { numRuns: 150 },
    );
  });

  it("come in parts that fit a control frame", () => {
    const names = new ChannelNames();
    for (let i = 0; i < 250; i++) names.claim("s", i, `name ${i}`, "sinks");
    const sizes: number[] = [];
    names.watch((channels) => sizes.push(channels.length));
    expect(sizes).toEqual([100, 100, 50]);
  });
});
