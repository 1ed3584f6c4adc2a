// The plan that is kept up to date against the whole plan: after any changes they are the same, whatever was done of it.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LANES, type Lane } from "../../src/protocol/lanes.ts";
import type { NetworkTechnology } from "../../src/protocol/qos.ts";
import { type ExistingLink, type PlanInput, type PlannedMember, plan } from "../../src/runtime/plan.ts";
import { Planner, type RemoteWishes } from "../../src/runtime/planner.ts";

const TECHNOLOGIES = ["udp", "xdp", "rdma"] as const;
const lane = fc.constantFrom<NetworkTechnology>(...TECHNOLOGIES);
const stream = fc.constantFrom("a", "b");
const channel = fc.integer({ min: 0, max: 4 });
const member = fc
  .record({
    session: fc.integer({ min: 1, max: 4 }),
    stream,
    datapath: fc.option(lane, { nil: null }),
    // While it moves.
    keep: fc.subarray<NetworkTechnology>([...TECHNOLOGIES], { maxLength: 1 }),
    held: fc.boolean(),
    sources: fc.uniqueArray(fc.integer({ min: 0, max: 14 }), { maxLength: 4 }),
    sinks: fc.array(fc.record({ channel, block: fc.boolean() }), { maxLength: 4 }),
  })
  .map(
    ({ sources, ...rest }): PlannedMember => ({
      ...rest,
      sources: sources.map((index) => ({ id: rest.session * 100 + index, index, channel: index % 5 })),
    }),
  );

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("member" as const), member }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("leaves" as const), session: fc.integer({ min: 1, max: 4 }), stream }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("remote" as const), lane, stream, channel }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("networks" as const), networks: fc.subarray([...LANES]) }),
  },
  // Links that end by themselves, and links that are not opened although they are wanted.
  { weight: 2, arbitrary: fc.record({ do: fc.constant("ends" as const), which: fc.nat({ max: 50 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("hold" as const), which: fc.nat({ max: 2 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("plan" as const) }) },
);

/** What other hosts want, as a set that is changed. */
class PlayedRemote implements RemoteWishes {
  readonly wanted = new Map<string, { lane: NetworkTechnology; stream: string; channel: number }>();
  version = 0;
  readonly #versions = new Map<string, number>();

  toggle(lane: NetworkTechnology, stream: string, channel: number): void {
    const key = `${lane} ${stream} ${channel}`;
    if (!this.wanted.delete(key)) this.wanted.set(key, { lane, stream, channel });
    this.#versions.set(`${lane} ${stream}`, ++this.version);
  }
  versionOf(lane: Lane, stream: string): number {
    return this.#versions.get(`${lane} ${stream}`) ?? 0;
  }
  has(lane: Lane, stream: string, channel: number): boolean {
    return this.wanted.has(`${lane} ${stream} ${channel}`);
  }
}

const sorted = <T extends { readonly key: string }>(links: ReadonlyArray<T>): T[] =>
  [...links].sort((a, b) => (a.key < b.key ? -1 : 1));

describe("the plan that is kept up to date", () => {
  it("is the whole plan, after whatever has changed", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40, size: "max" }), fc.integer({ min: 1, max: 4 }), (steps, spread) => {
        const planner = new Planner();
        const members = new Map<string, PlannedMember>();
        const remote = new PlayedRemote();
        let networks: Lane[] = [...TECHNOLOGIES];
        let hold = 1;
        const existing = new Map<string, ExistingLink>();
        for (const one of [...steps, { do: "plan" as const }]) {
          if (one.do === "member") members.set(`${one.member.session} ${one.member.stream}`, one.member);
          else if (one.do === "leaves") members.delete(`${one.session} ${one.stream}`);
          else if (one.do === "remote") remote.toggle(one.lane, one.stream, one.channel);
          else if (one.do === "networks") networks = one.networks;
          else if (one.do === "hold") hold = one.which;
          else if (one.do === "ends") {
            const key = [...existing.keys()][one.which % Math.max(1, existing.size)];
            if (key === undefined) continue;
            existing.delete(key);
            planner.lost(key);
          } else {
            const whole: PlanInput = {
              members: [...members.values()],
              remote: [...remote.wanted.values()],
              networks,
              spread,
            };
            const now = { members: whole.members, remote, networks, spread };
            const right = plan(whole, existing);
            for (const added of whole.members) {
              // One more of everything that there is.
              const more = { ...added, sinks: [...added.sinks, { channel: 2, block: true }] };
              const rest = whole.members.filter(
                ({ session, stream }) => session !== added.session || stream !== added.stream,
              );
              const mine = plan({ ...whole, members: [...rest, more] }, existing).open.filter(
                ({ stream, producer, consumer }) =>
                  stream === added.stream && (producer === added.session || consumer === added.session),
              );
              expect(planner.more(more, now, (key) => existing.get(key))).toBe(mine.length);
            }
            const kept = planner.plan(now, (key) => existing.get(key));
            expect(sorted(kept.open)).toEqual(sorted(right.open));
            expect(sorted(kept.update)).toEqual(sorted(right.update));
            expect([...kept.close].sort()).toEqual([...right.close].sort());
            for (const key of kept.close) existing.delete(key);
            for (const link of kept.update) existing.set(link.key, link);
            for (const [i, link] of kept.open.entries()) if (hold === 0 || i % hold === 0) existing.set(link.key, link);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});
