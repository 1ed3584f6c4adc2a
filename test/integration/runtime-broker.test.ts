// The broker keeps links equal to what should be, also when what it does makes it begin anew.
import { expect, it } from "vitest";
import { ManualClock } from "../../src/actors/clock.ts";
import { Inspection } from "../../src/actors/inspection.ts";
import type { World } from "../../src/actors/life.ts";
import type { LinkEnd } from "../../src/actors/link-end.ts";
import { Broker } from "../../src/runtime/broker.ts";
import type { PlannedMember } from "../../src/runtime/plan.ts";

/** An end that never answers. */
const silent = (session: number): LinkEnd => ({
  session,
  domain: null,
  label: `session ${session}`,
  parkedPage: 0,
  pools: () => ({ infos: [], fds: [] }),
  open: () => new Promise(() => {}),
  update: () => new Promise(() => {}),
  close: () => new Promise(() => {}),
  forget: () => {},
  onGone: () => () => {},
});

it("opens each link once, though opening one asks for all of them again", async () => {
  const world: World = {
    clock: new ManualClock(),
    inspection: new Inspection((cause) => expect.unreachable(String(cause))),
    warn: () => {},
    defect: (_, cause) => {
      throw cause;
    },
  };
  const source = (session: number): PlannedMember => ({
    session,
    stream: "s",
    datapath: null,
    sources: [{ id: session, index: 0, channel: 1 }],
    sinks: [],
  });
  const sink: PlannedMember = {
    session: 9,
    stream: "s",
    datapath: null,
    sources: [],
    sinks: [{ channel: 1, block: true }],
  };
  let members = [source(1), source(2), source(3), sink];
  const broker: Broker = new Broker({
    world,
    entries: 16,
    input: () => ({ members, remote: { version: 0, versionOf: () => 0, has: () => false }, networks: [] }),
    end: silent,
    engine: () => undefined,
    accused: () => {},
    added: () => broker.reconcile(),
    changed: () => broker.reconcile(),
    ended: () => {},
  });
  broker.reconcile();
  const keys = (): string[] => broker.links.map(({ spec }) => spec.key).sort();
  expect(keys()).toEqual([1, 2, 3].map((session) => `direct:${session}>9:s`));
  members = [];
  broker.reconcile();
  // Nobody is left out: every one of them has been told to close.
  expect(broker.links.filter(({ state }) => !state.startsWith("closing"))).toEqual([]);
});
