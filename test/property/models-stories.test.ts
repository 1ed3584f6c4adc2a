// What the single lifecycles promise beyond what all of them do. Each test drives one machine as the runtime would and
// looks at its states and at the actions that it asks for.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AnyStateMachine, createActor, type EventFrom, type InputFrom, type SnapshotFrom } from "xstate";
import { datapathMachine } from "../../models/datapath.ts";
import { describe as describeMachine } from "../../models/describe.ts";
import { engineMachine } from "../../models/engine.ts";
import type { Notice } from "../../models/lifecycle.ts";
import { linkMachine } from "../../models/link.ts";
import { peerMachine } from "../../models/peer.ts";
import { runtimeMachine } from "../../models/runtime.ts";
import { sessionMachine } from "../../models/session.ts";
import { sinkMachine } from "../../models/sink.ts";
import { sourceMachine } from "../../models/source.ts";
import { streamMachine } from "../../models/stream.ts";
import { fixtures } from "./models-events.ts";

interface Asked {
  readonly name: string;
  readonly params: unknown;
}

/** Starts a machine; `asked` collects the actions in order, without the deadlines. */
const start = <M extends AnyStateMachine>(machine: M, input: InputFrom<M>) => {
  const asked: Asked[] = [];
  const collect = (name: string) => [name, (_: unknown, params: unknown) => asked.push({ name, params })];
  const actions = Object.fromEntries(
    describeMachine(machine)
      .actions.filter((name) => !name.endsWith("Deadline"))
      .map(collect),
  );
  const actor = createActor(machine.provide({ actions }) as M, { input } as never).start();
  return {
    asked,
    names: () => asked.map(({ name }) => name),
    send: (...events: EventFrom<M>[]) => {
      for (const event of events) actor.send(event);
    },
    snapshot: () => actor.getSnapshot() as SnapshotFrom<M>,
    value: () => (actor.getSnapshot() as { value: unknown }).value,
  };
};

const notice: Notice = { code: "ESYSTEM", message: "the device went away" };
const session = { name: "session 1", version: 1, layout: 7 };
const link = { name: "link 1", producer: "session 1", consumer: "session 2", credits: 64 };

describe("runtime", () => {
  test("is degraded while something is wrong, and says so", () => {
    const it = start(runtimeMachine, { name: "runtime" });
    it.send({ type: "started" }, { type: "degraded", what: "udp", notice }, { type: "degraded", what: "xdp", notice });
    expect(it.value()).toEqual({ running: "degraded" });
    it.send({ type: "restored", what: "udp" });
    expect(it.value()).toEqual({ running: "degraded" });
    it.send({ type: "restored", what: "xdp" });
    expect(it.value()).toEqual({ running: "healthy" });
    expect(it.names().filter((name) => name === "warn")).toHaveLength(2);
  });

  test("closes from the outside in, and each step waits for the children of that step", () => {
    const it = start(runtimeMachine, { name: "runtime" });
    it.send({ type: "started" });
    for (const kind of ["session", "peer", "engine"] as const) it.send({ type: "childAdded", kind });
    it.send({ type: "close" });
    expect(it.value()).toEqual({ closing: "sessions" });
    it.send({ type: "childEnded", kind: "engine", quarantined: [] }, { type: "childAdded", kind: "engine" });
    expect(it.value()).toEqual({ closing: "sessions" });
    it.send({ type: "childEnded", kind: "session", quarantined: [] });
    expect(it.value()).toEqual({ closing: "peers" });
    it.send({ type: "childEnded", kind: "peer", quarantined: [] });
    expect(it.value()).toEqual({ closing: "engines" });
    expect(it.names()).not.toContain("releaseScope");
    it.send({ type: "childEnded", kind: "engine", quarantined: ["engine 1"] }, { type: "released" });
    expect(it.snapshot().output).toMatchObject({ how: "quarantined", quarantined: ["engine 1"] });
  });

  test("tells a child that appeared while it closed", () => {
    const it = start(runtimeMachine, { name: "runtime" });
    it.send({ type: "started" }, { type: "childAdded", kind: "engine" }, { type: "close" });
    expect(it.value()).toEqual({ closing: "engines" });
    it.send({ type: "childAdded", kind: "session" });
    expect(it.value()).toEqual({ closing: "sessions" });
    expect(it.names().at(-1)).toBe("closeChildren");
  });
});

describe("session", () => {
  test.each([
    ["EVERSION", { type: "hello", version: 2, layout: 7, pid: 1 }],
    ["ELAYOUT", { type: "hello", version: 1, layout: 8, pid: 1 }],
  ] as const)("is rejected with %s before anything is granted", (code, hello) => {
    const it = start(sessionMachine, session);
    it.send(hello);
    expect(it.asked.find(({ name }) => name === "reject")?.params).toMatchObject({ code });
    expect(it.names()).not.toContain("admit");
    expect(it.snapshot().context.ending).toMatchObject({ cause: "failure", notice: { code } });
  });

  test("that breaks the contract is told why before it is closed", () => {
    const it = start(sessionMachine, session);
    it.send({ type: "hello", version: 1, layout: 7, pid: 1 }, { type: "admitted" }, { type: "violation", notice });
    expect(it.value()).toBe("evicting");
    expect(it.names()).toEqual(["admit", "welcome", "warn", "evict"]);
    it.send({ type: "told" }, { type: "released" });
    expect(it.snapshot().output).toMatchObject({ how: "closed", cause: "failure", notice });
  });

  test("that dies while it closes tells its streams not to wait for it", () => {
    const it = start(sessionMachine, session);
    it.send({ type: "hello", version: 1, layout: 7, pid: 1 }, { type: "admitted" });
    it.send({ type: "childAdded", kind: "stream" }, { type: "close" }, { type: "died", how: "pidfd" });
    const told = it.asked.filter(({ name }) => name === "closeStreams").map(({ params }) => params);
    expect(told).toEqual([{ dead: false }, { dead: true }]);
  });
});

describe("stream", () => {
  const bound = { type: "bound", datapath: "udp", warnings: [] } as const;
  const open = () => {
    const it = start(streamMachine, { name: "stream 1" });
    it.send(bound);
    return it;
  };

  test("moves on request by marker, and carries on where it was if the new path does not come up", () => {
    const it = open();
    it.send({ type: "rebind", reason: "appeared" }, { type: "prepared", datapath: "xdp", warnings: [] });
    it.send({ type: "drained" }, { type: "echoed" }, { type: "switched" });
    const moved = ["prepare", "drain", "mark", "switch", "publishBinding", "atRest"];
    expect(it.names()).toEqual(["bind", "publishBinding", "atRest", ...moved]);
    expect(it.snapshot().context.datapath).toBe("xdp");
    it.send({ type: "rebind", reason: "qos" }, { type: "deadline" });
    expect(it.value()).toEqual({ bound: "asRequested" });
    expect(it.snapshot().context.datapath).toBe("xdp");
    expect(it.names().slice(-3)).toEqual(["callOff", "warn", "atRest"]);
  });

  test("switches at once when its datapath is lost: no draining, no marker", () => {
    const it = open();
    it.send({ type: "datapathLost", datapath: "udp", notice });
    expect(it.value()).toEqual({ rebinding: "replacing" });
    it.send({ type: "prepared", datapath: "xdp", warnings: [notice] }, { type: "switched" });
    expect(it.value()).toEqual({ bound: "fallback" });
    expect(it.names()).not.toContain("drain");
    expect(it.names()).not.toContain("mark");
  });

  test("is not torn down when no datapath is left: co-located endpoints go on, and it says so", () => {
    const it = open();
    it.send({ type: "datapathLost", datapath: "udp", notice }, { type: "unbindable", notice });
    expect(it.value()).toEqual({ bound: "fallback" });
    expect(it.snapshot().context).toMatchObject({ datapath: null, warnings: [{ code: "W_NO_NETWORK" }] });
  });

  test("does not forget a wish to move that comes while it moves", () => {
    const it = open();
    it.send({ type: "rebind", reason: "appeared" }, { type: "rebind", reason: "qos" }, { type: "unchanged" });
    expect(it.value()).toEqual({ rebinding: "preparing" });
    it.send({ type: "unchanged" });
    expect(it.value()).toEqual({ bound: "asRequested" });
  });

  test("ignores the loss of a datapath that is not its own", () => {
    const it = open();
    it.send({ type: "datapathLost", datapath: "xdp", notice });
    expect(it.value()).toEqual({ bound: "asRequested" });
  });
});

describe("source", () => {
  test("opens when the last link has acknowledged it, whatever the order", () => {
    const it = start(sourceMachine, { name: "source 1", channel: 42 });
    it.send({ type: "linked", link: "b" }, { type: "announced", links: ["a", "b"] });
    expect(it.value()).toBe("opening");
    it.send({ type: "unlinked", link: "a" });
    expect(it.value()).toEqual({ open: "matched" });
  });

  test("counts what was under way when nobody took it back in time", () => {
    const it = start(sourceMachine, { name: "source 1", channel: 42 });
    it.send({ type: "announced", links: [] }, { type: "close" }, { type: "outstanding", count: 5 });
    it.send({ type: "outstanding", count: 2 }, { type: "deadline" }, { type: "released" });
    expect(it.asked.find(({ name }) => name === "abandon")?.params).toEqual({ count: 2 });
    expect(it.snapshot().output).toMatchObject({ how: "closed", abandoned: 2 });
  });
});

describe("sink", () => {
  test("after its deadline opens all the same and names the sources that did not answer", () => {
    const it = start(sinkMachine, { name: "sink 1", channel: 42 });
    it.send({ type: "announced", sources: ["source 1", "source 2"] }, { type: "acknowledged", source: "source 2" });
    expect(it.names()).not.toContain("publishOpen");
    it.send({ type: "deadline" });
    expect(it.value()).toEqual({ open: "unconfirmed" });
    expect(it.asked.at(-1)).toEqual({ name: "publishOpen", params: { missing: ["source 1"] } });
    expect(it.asked.at(-2)?.params).toMatchObject({ code: "W_SINK_UNCONFIRMED" });
    it.send({ type: "acknowledged", source: "source 1" });
    expect(it.value()).toEqual({ open: "confirmed" });
  });

  test("opens without a word when every source has answered", () => {
    const it = start(sinkMachine, { name: "sink 1", channel: 42 });
    it.send({ type: "announced", sources: [] });
    expect(it.names()).toEqual(["announce", "publishOpen"]);
  });
});

describe("link", () => {
  const opened = () => {
    const it = start(linkMachine, link);
    it.send({ type: "allocated" }, { type: "accepted", end: "consumer" }, { type: "accepted", end: "producer" });
    return it;
  };

  test("opens only when both ends have accepted it", () => {
    const it = start(linkMachine, link);
    it.send({ type: "allocated" }, { type: "accepted", end: "consumer" }, { type: "accepted", end: "consumer" });
    expect(it.names()).not.toContain("publishOpen");
    it.send({ type: "accepted", end: "producer" });
    expect(it.value()).toBe("open");
  });

  test("that is not accepted in time names the end that did not answer", () => {
    const it = start(linkMachine, link);
    it.send({ type: "allocated" }, { type: "accepted", end: "consumer" }, { type: "deadline" });
    expect(it.asked.find(({ name }) => name === "warn")?.params).toMatchObject({
      message: "link 1: not accepted within 1000 ms by its producer session 1",
    });
  });

  test("is released when both ends are done, and a dead end is done at once", () => {
    const it = opened();
    it.send({ type: "died", end: "consumer" });
    expect(it.names()).not.toContain("releaseScope");
    it.send({ type: "reclaimed", abandoned: 3 });
    expect(it.value()).toEqual({ closing: "releasing" });
    it.send({ type: "released" });
    expect(it.snapshot().output).toMatchObject({ how: "closed", cause: "death", abandoned: 3 });
  });

  test("never unmaps under an end that does not answer", () => {
    const it = opened();
    it.send({ type: "close" }, { type: "returned" }, { type: "deadline" }, { type: "released" });
    expect(it.snapshot().output).toMatchObject({ how: "quarantined", quarantined: ["link 1"] });
  });

  test("accuses the end that broke its contract", () => {
    const it = opened();
    it.send({ type: "violation", end: "consumer", notice });
    expect(it.asked.find(({ name }) => name === "accuse")?.params).toEqual({ end: "consumer", notice });
  });
});

describe("engine", () => {
  test("has an owner other than its thread only under an inline lease", () => {
    for (const mode of ["inline", "shared", "dedicated"] as const) {
      const it = start(engineMachine, { name: "engine 1", mode });
      it.send({ type: "started" }, { type: "leaseTaken" });
      const lease = mode === "inline" ? "owner" : "standby";
      expect(it.value()).toEqual({ running: { lease, activity: "polling" } });
    }
  });

  test("that stalls and comes back is synchronised before it counts as running", () => {
    const it = start(engineMachine, { name: "engine 1", mode: "shared" });
    it.send({ type: "started" }, { type: "overdue", command: "add link 3" }, { type: "progressed" });
    expect(it.value()).toBe("recovering");
    it.send({ type: "recovered" });
    expect(it.names()).toEqual(["start", "warn", "nudge", "resynchronise"]);
    expect(it.snapshot().context.stalls).toBe(1);
  });

  test("that shows no life is killed if it is a process, and quarantined if it is a thread", () => {
    const hang = (process: boolean) => {
      const it = start(engineMachine, { name: "engine 1", mode: "dedicated", process });
      it.send({ type: "started" }, { type: "overdue", command: "add link 3" }, { type: "deadline" });
      const asked = process ? { name: "kill", params: undefined } : { name: "stop", params: { kill: false } };
      expect(it.asked.at(-1)).toEqual(asked);
      return it;
    };
    const killed = hang(true);
    killed.send({ type: "died", how: "SIGKILL" }, { type: "released" });
    expect(killed.snapshot().output).toMatchObject({ how: "closed", cause: "failure" });
    const hung = hang(false);
    hung.send({ type: "deadline" }, { type: "released" });
    expect(hung.snapshot().output).toMatchObject({ how: "quarantined", quarantined: ["engine 1"] });
  });

  test("that died is not sent a stop command", () => {
    const it = start(engineMachine, { name: "engine 1", mode: "dedicated", process: true });
    it.send({ type: "started" }, { type: "childAdded", kind: "datapath" }, { type: "died", how: "SIGSEGV" });
    expect(it.asked.at(-1)).toEqual({ name: "closeDatapaths", params: { dead: true } });
    it.send({ type: "childEnded", kind: "datapath", quarantined: [] });
    expect(it.value()).toEqual({ closing: "releasing" });
    expect(it.names()).not.toContain("stop");
  });
});

describe("datapath", () => {
  const endpoint = { address: "127.0.0.1", port: 7000, mtu: 1500 };

  test("opens when it is wanted, also when that was said before the probe had answered", () => {
    const early = start(datapathMachine, { name: "udp", technology: "udp" });
    early.send({ type: "open" }, { type: "available", evidence: [] });
    const late = start(datapathMachine, { name: "udp", technology: "udp" });
    late.send({ type: "available", evidence: [] });
    expect(late.value()).toBe("available");
    late.send({ type: "open" });
    expect([early.value(), late.value()]).toEqual(["opening", "opening"]);
  });

  test("that keeps breaking is restarted as its policy says, then gives up and escalates; a retry begins anew", () => {
    const it = start(datapathMachine, { name: "udp", technology: "udp" });
    it.send({ type: "open" }, { type: "available", evidence: [] });
    const waits: number[] = [];
    let at = 0;
    while (it.value() !== "gaveUp") {
      it.send({ type: "opened", endpoint }, { type: "broke", notice }, { type: "detached", at });
      if (it.value() !== "backoff") continue;
      const { delayMs } = it.snapshot().context;
      waits.push(delayMs);
      at += delayMs;
      it.send({ type: "deadline" });
    }
    expect(waits).toEqual([50, 100, 200, 400, 800]);
    expect(it.asked.at(-1)).toMatchObject({ name: "escalate", params: { code: "W_DATAPATH_DOWN" } });
    it.send({ type: "retry" }, { type: "broke", notice }, { type: "detached", at });
    expect(it.value()).toBe("backoff");
  });

  test("never opens an instance while the last one may still be there", () => {
    const { events, input } = fixtures.find(({ name }) => name === "datapath") as (typeof fixtures)[number];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...events), { maxLength: 60 }), (sequence) => {
        const it = start(datapathMachine, { ...(input as InputFrom<typeof datapathMachine>), policy: undefined });
        let exists = false;
        let seen = 0;
        for (const event of sequence) {
          if (it.snapshot().status === "done") break;
          // What the engine says of an instance that is not there is not news.
          const before = it.value();
          it.send(event as EventFrom<typeof datapathMachine>);
          if (event.type === "detached" && (before === "failed" || typeof before === "object")) exists = false;
          for (const { name } of it.asked.slice(seen)) {
            if (name !== "open") continue;
            expect(exists).toBe(false);
            exists = true;
          }
          seen = it.asked.length;
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("peer", () => {
  const hello = (incarnation: string) => ({ type: "hello", incarnation }) as const;

  test("is silent after three hellos missed in a row, and any sign of life in between starts the count anew", () => {
    const it = start(peerMachine, { name: "peer b", helloMs: 100, tolerance: 3 });
    it.send(hello("one"), { type: "deadline" }, { type: "deadline" }, { type: "heard" });
    it.send({ type: "deadline" }, { type: "deadline" });
    expect(it.value()).toBe("alive");
    it.send({ type: "deadline" });
    expect(it.value()).toBe("silent");
    expect(it.asked.find(({ name }) => name === "warn")?.params).toMatchObject({ code: "W_PEER_SILENT" });
  });

  test("is made new when its incarnation changes, in whatever state, and only then", () => {
    const it = start(peerMachine, { name: "peer b" });
    it.send(hello("one"), hello("one"), { type: "farewell" }, hello("one"));
    expect(it.names()).not.toContain("resetPeer");
    it.send(hello("two"));
    expect(it.snapshot().context.resets).toBe(1);
    expect(it.names().slice(-3)).toEqual(["stopSending", "resetPeer", "resumeSending"]);
  });

  test("is sent messages if and only if it is alive", () => {
    const { events } = fixtures.find(({ name }) => name === "peer") as (typeof fixtures)[number];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...events), { maxLength: 60 }), (sequence) => {
        const it = start(peerMachine, { name: "peer b", tolerance: 2 });
        for (const event of sequence) {
          if (it.snapshot().status === "done") break;
          it.send(event as EventFrom<typeof peerMachine>);
          const last = it.names().findLast((name) => name === "resumeSending" || name === "stopSending");
          expect(last === "resumeSending").toBe(it.value() === "alive");
        }
      }),
      { numRuns: 300 },
    );
  });
});
