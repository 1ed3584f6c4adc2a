// A link's actor between two ends that the test plays: who is told what in which order, and what stays mapped when an
// engine does not answer.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../../src/actors/clock.ts";
import { EngineEnd } from "../../src/actors/engine-end.ts";
import { Inspection } from "../../src/actors/inspection.ts";
import type { World } from "../../src/actors/life.ts";
import { DRAIN_MS, LinkActor, type LinkSpec } from "../../src/actors/link.ts";
import type { LinkEnd, LinkOffer } from "../../src/actors/link-end.ts";
import type { EngineResource } from "../../src/effects/engine.ts";
import { platform } from "../../src/native/platform.ts";
import { InsaneError } from "../../src/protocol/codes.ts";
import { LINK, PARKED_PAGE } from "../../src/protocol/layout.ts";
import type { LinkTables } from "../../src/runtime/plan.ts";

const table = (...channels: number[]): LinkTables => ({
  channels: channels.map((channel) => ({ index: channel, channel, block: true, policies: [] })),
  sources: channels.map((channel) => ({ index: channel, source: 100 + channel, channel })),
});
const channelsOf = ({ channels }: LinkTables): string => channels.map(({ channel }) => channel).join(",");

function stage() {
  const clock = new ManualClock();
  const said: string[] = [];
  const warnings: string[] = [];
  const world: World = {
    clock,
    inspection: new Inspection((cause) => expect.unreachable(String(cause))),
    warn: (about, { code }) => warnings.push(`${about} ${code}`),
    defect: (about, cause) => {
      throw new Error(`${about}: ${cause}`);
    },
  };
  /** An end that notes what it is told, and answers at once unless it is made to hold its tongue. */
  class PlayedEnd implements LinkEnd {
    readonly session: number;
    readonly parkedPage = -1;
    readonly domain = null;
    silent = new Set<string>();
    offer: LinkOffer | null = null;
    #gone: (() => void) | null = null;
    readonly #role: string;
    constructor(role: string, session: number) {
      this.#role = role;
      this.session = session;
    }
    get label(): string {
      return `session ${this.session}`;
    }
    pools() {
      return { infos: [], fds: [] };
    }
    async #say(what: string, more = ""): Promise<void> {
      said.push(`${this.#role} ${what}${more && ` ${more}`}`);
      if (this.silent.has(what)) await new Promise(() => {});
    }
    async open(offer: LinkOffer): Promise<void> {
      this.offer = offer;
      await this.#say("open", channelsOf(offer.tables));
    }
    async update(_: LinkOffer, __: LinkTables, tables: LinkTables): Promise<void> {
      await this.#say("update", channelsOf(tables) || "nothing");
    }
    async close(_: LinkOffer, mode: "drain" | "abandon"): Promise<number> {
      await this.#say(mode);
      return 0;
    }
    forget(): void {
      said.push(`${this.#role} forget`);
    }
    onGone(f: () => void): () => void {
      this.#gone = f;
      return () => {};
    }
    die(): void {
      this.#gone?.();
    }
  }
  const producer = new PlayedEnd("producer", 1);
  const consumer = new PlayedEnd("consumer", 2);
  const link = (over: Partial<LinkSpec> = {}): LinkActor => {
    const actor = new LinkActor(
      world,
      {
        id: 7,
        key: "k",
        kind: "direct",
        stream: "s",
        lane: null,
        entries: 16,
        producer,
        consumer,
        tables: table(1),
        held: false,
        replaces: () => null,
        ...over,
      },
      { accuse: (end, _, message) => said.push(`accuse ${end.label}: ${message}`), ended: () => said.push("ended") },
    );
    actor.start();
    return actor;
  };
  return { clock, said, warnings, producer, consumer, link };
}
const turns = async (count = 20): Promise<void> => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};
const mapped = (): number =>
  readFileSync("/proc/self/maps", "utf8")
    .split("\n")
    .filter((line) => line.includes("memfd:link")).length;

describe("a link", () => {
  it("is known to its consumer before its producer may push", async () => {
    const { said, link } = stage();
    expect(await link().confirmed()).toBe(true);
    expect(said).toEqual(["consumer open 1", "producer open 1"]);
  });

  it("waits longer for an application whose stream moves to it: that may have much to do", async () => {
    for (const held of [false, true]) {
      const { clock, producer, link } = stage();
      producer.silent.add("open");
      const actor = link({ held });
      await turns();
      clock.advance(4000);
      await turns();
      expect(actor.state.startsWith("offered"), `held ${held}: ${actor.state}`).toBe(held);
      actor.close("test");
      for (let i = 0; i < 20; i++) {
        clock.advance(1000);
        await turns(4);
      }
      await actor.life.ended;
    }
  });

  it("tells its producer of nothing that came while its consumer was being told, before that knows it", async () => {
    const { said, link, consumer } = stage();
    let answer = (): void => {};
    const open = consumer.open.bind(consumer);
    consumer.open = async (offer) => {
      await open(offer);
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
    };
    const actor = link();
    await turns();
    actor.setTables(table(1, 2));
    answer();
    expect(await actor.confirmed()).toBe(true);
    expect(said).toEqual(["consumer open 1", "producer open 1", "consumer update 1,2", "producer update 1,2"]);
  });

  it("grows from the consumer's side and shrinks from the producer's", async () => {
    const { said, link } = stage();
    const actor = link();
    await actor.confirmed();
    actor.setTables(table(1, 2));
    expect(await actor.confirmed()).toBe(true);
    actor.setTables(table(2));
    await actor.confirmed();
    await turns();
    expect(said.slice(2)).toEqual([
      "consumer update 1,2",
      "producer update 1,2",
      "producer update 2",
      "consumer update 2",
    ]);
  });

  it("keeps what is under way readable: the consumer forgets a channel when the last of it is home", async () => {
    const { said, link, producer, clock } = stage();
    const actor = link({ tables: table(1, 2) });
    await actor.confirmed();
    const words = producer.offer?.memory.mapping.u32 as Uint32Array;
    words[LINK.FORWARD_TAIL / 4] = 3;
    actor.setTables(table(1));
    await actor.confirmed();
    for (let i = 0; i < 10; i++) {
      clock.advance(10);
      await turns(2);
    }
    expect(said).not.toContain("consumer update 1");
    expect(actor.outstanding).toBe(3);
    words[LINK.RETURN_TAIL / 4] = 3;
    clock.advance(10);
    await turns();
    expect(said).toContain("consumer update 1");
  });

  it("drains when it is asked to close: nothing more is pushed, then both ends let go, then its memory goes", async () => {
    const before = mapped();
    const { said, link } = stage();
    const actor = link();
    await actor.confirmed();
    expect(mapped()).toBe(before + 1);
    actor.close("test");
    expect((await actor.life.ended).how).toBe("closed");
    expect(said.slice(2)).toEqual([
      "producer update nothing",
      "producer drain",
      "consumer drain",
      "producer forget",
      "consumer forget",
      "ended",
    ]);
    expect(mapped()).toBe(before);
  });

  it("is abandoned when its drain takes too long, the consumer first", async () => {
    const { said, link, consumer, producer, clock } = stage();
    const actor = link();
    await actor.confirmed();
    consumer.silent.add("drain");
    producer.silent.add("drain");
    actor.close("test");
    await turns();
    clock.advance(DRAIN_MS);
    await turns();
    expect(said.slice(-5)).toEqual([
      "consumer abandon",
      "producer abandon",
      "producer forget",
      "consumer forget",
      "ended",
    ]);
    expect(actor.life.outcome?.how).toBe("closed");
  });

  it("whose consumer dies gives the producer its slots back and asks the dead nothing", async () => {
    const { said, link, consumer } = stage();
    const actor = link();
    await actor.confirmed();
    said.length = 0;
    consumer.die();
    expect((await actor.life.ended).cause).toBe("death");
    expect(said).toEqual(["producer abandon", "producer forget", "consumer forget", "ended"]);
  });

  it("whose producer dies lets the consumer read what it has", async () => {
    const { said, link, producer } = stage();
    const actor = link();
    await actor.confirmed();
    said.length = 0;
    producer.die();
    await actor.life.ended;
    expect(said).toEqual(["consumer drain", "producer forget", "consumer forget", "ended"]);
  });

  it("whose consumer does not answer is given up, and nobody waits for ever", async () => {
    const { link, consumer, clock, warnings } = stage();
    consumer.silent.add("open");
    consumer.silent.add("abandon");
    const actor = link();
    const confirmed = actor.confirmed();
    await turns();
    clock.advance(1000);
    expect(await confirmed).toBe(false);
    for (let i = 0; i < 10; i++) {
      clock.advance(500);
      await turns();
    }
    expect(actor.life.outcome).toMatchObject({ how: "closed", cause: "failure" });
    expect(warnings).toEqual(["link 7 ETIMEDOUT"]);
  });
});

describe("an engine that does not acknowledge the removal of a link", () => {
  it("keeps the link's memory mapped, counted and warned about", async () => {
    const before = mapped();
    const { link, producer, warnings, clock } = stage();
    const parked = platform().segmentCreate("parked", PARKED_PAGE.BYTES);
    Object.defineProperty(producer, "parkedPage", { value: parked });
    let removals = 0;
    const resource = {
      command: async (what: string) => {
        if (!what.startsWith("the removal")) return 0;
        removals++;
        throw new InsaneError("ETIMEDOUT", `no word about ${what}`);
      },
      parkedPage: { fd: parked, bytes: PARKED_PAGE.BYTES },
    } as unknown as EngineResource;
    const scope = () => {
      throw new Error("no scope is needed");
    };
    const name = "engine test";
    const ports = {
      ...{ clock, name, scope },
      resource: () => resource,
      datapath: () => 1,
      drainMs: DRAIN_MS,
      warn: () => {},
      largeBytes: 2 ** 20,
    };
    const actor = link({ kind: "egress", consumer: new EngineEnd(ports) });
    expect(await actor.confirmed()).toBe(true);
    actor.close("test");
    const outcome = await actor.life.ended;
    expect(removals).toBeGreaterThan(0);
    expect(outcome.how).toBe("quarantined");
    expect(outcome.quarantined.join()).toContain("link 7");
    expect(warnings).toEqual(["link 7 W_QUARANTINED"]);
    expect(mapped()).toBe(before + 1);
    platform().fdClose(parked);
  });
});
