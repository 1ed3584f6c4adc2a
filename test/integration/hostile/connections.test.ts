// Attacks by the number of connections and by their ends: a thousand sockets without a word, a daemon without descriptors,
// applications that end or are stopped in the middle of every step.
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { platform } from "../../../src/native/platform.ts";
import { encodeRequest } from "../../../src/protocol/rpc.ts";
import { eventually } from "../runtime/processes.ts";
import { Arena, grownBy } from "./arena.ts";
import type { Daemon } from "./daemon.ts";
import { HostileClient, QOS } from "./hostile-client.ts";

const CALM = "calm";

let arena: Arena;
let daemon: Daemon;

beforeAll(async () => {
  arena = new Arena();
  daemon = await arena.daemon();
  await arena.pair("local", daemon, daemon, CALM, 1);
  await arena.begin();
});
afterAll(async () => {
  await arena[Symbol.asyncDispose]();
});

describe("a thousand sockets", () => {
  const connectMany = (count: number): number[] => {
    const fds: number[] = [];
    for (let i = 0; i < count; i++) {
      const fd = platform().raw.socketConnect(daemon.socket);
      if (fd >= 0) fds.push(fd);
    }
    return fds;
  };

  it("that say nothing are closed in time, and whoever comes then is served", async () => {
    await arena.attack(async () => {
      const fds = connectMany(1000);
      try {
        await arena.calm();
        // Nobody is kept out for longer than a hello may take.
        const late = await eventually(
          async () => {
            using client = new HostileClient(daemon.socket);
            return await client.hello({ name: "late" }).then(
              ({ error }) => error?.code ?? "welcome",
              () => "closed",
            );
          },
          (answer) => answer === "welcome",
          6000,
        );
        expect(late).toBe("welcome");
      } finally {
        for (const fd of fds) platform().fdClose(fd);
      }
    });
  });

  it("that say half a hello are refused or closed", async () => {
    await arena.attack(async () => {
      const fds = connectMany(200);
      const hello = encodeRequest(1, "hello", { protocol: 1, layout: 1, role: "application", name: "x", version: "" });
      try {
        for (const fd of fds) platform().raw.socketSend(fd, hello, hello.length >> 1, null, 0);
        await arena.calm();
      } finally {
        for (const fd of fds) platform().fdClose(fd);
      }
    });
  });

  it("that come again and again cost no memory that the first ones did not", async () => {
    await arena.attack(async () => {
      const SOME = 200; // fewer than limits.sessions: each becomes a session
      const had = daemon.footprint().fds;
      const until = (good: (fds: number) => boolean): Promise<number> => eventually(() => daemon.footprint().fds, good);
      const round = async (): Promise<void> => {
        for (let i = 0; i < 1000; i += SOME) {
          const fds = connectMany(SOME);
          await until((now) => now >= had + SOME);
          for (const fd of fds) platform().fdClose(fd);
          await until((now) => now <= had);
        }
      };
      await round();
      const before = await daemon.memory();
      for (let i = 0; i < 3; i++) await round();
      // Three thousand sessions: one that left a kilobyte would show.
      grownBy(before, await daemon.memory(), 2 * 2 ** 20);
    });
  });

  it("that come and go at once leave nothing", async () => {
    await arena.attack(async () => {
      for (let i = 0; i < 30; i++) {
        for (const fd of connectMany(40)) platform().fdClose(fd);
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
  });
});

/** The steps of an application's life; each may be its last. */
const STEPS: ReadonlyArray<readonly [string, unknown | ((stream: number) => unknown)]> = [
  ["hello", { protocol: 1, layout: 0, role: "application", name: "brief", version: "" }],
  ["session.mapped", {}],
  ["stream.open", { name: CALM, qos: QOS }],
  ["pool.open", { stream: 1 }],
  ["pool.mapped", { stream: 1 }],
  ["source.open", { stream: 1, channel: 1 }],
  ["sink.open", { stream: 1, channel: 1, policy: { kind: "drop-newest" } }],
  ["sink.open", { stream: 1, channel: 1, policy: { kind: "keep-last", depth: 3 } }],
  ["source.open", { stream: 1, channel: 2 }],
  ["status", {}],
  ["stream.close", { stream: 1 }],
  ["session.close", {}],
];

describe("the end of an application", () => {
  const steps = STEPS.map(([method], i) => [i, method] as const);

  it.each(steps)("before the answer to step %i, %s, leaves nothing", async (last) => {
    await arena.attack(async () => {
      for (const answered of [false, true]) {
        using client = new HostileClient(daemon.socket);
        await client.hello({ name: "brief" });
        for (const [method, params] of STEPS.slice(1, last)) await client.ask(method, params);
        const [method, params] = STEPS[last] ?? ["", {}];
        if (last > 0) client.fling(method, params, 900);
        // Once before the daemon can have seen it, once while it may be at it.
        if (answered) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    });
  });

  it.each(steps)("that has flung all steps up to %i, %s, and was killed, leaves nothing", async (last) => {
    await arena.attack(async () => {
      using client = new HostileClient(daemon.socket);
      await client.hello({ name: "brief" });
      for (const [i, [method, params]] of STEPS.slice(1, last + 1).entries()) client.fling(method, params, 900 + i);
    });
  });

  it("by SIGKILL in the midst of traffic leaves nothing", async () => {
    await arena.attack(async () => {
      const victim = await arena.application(daemon, "killed");
      await victim.call("sink", { channel: 1, stream: CALM, hold: 50, policy: { kind: "drop-newest" } });
      await victim.call("source", { channel: 3, stream: CALM });
      await victim.call("sink", { channel: 3, stream: CALM, hold: 50 });
      await victim.call("emit", { index: 0, size: 3000 });
      await arena.calm();
      await victim.kill();
    });
  });
});

describe("an application that is stopped", () => {
  const stopped = async (policy: Record<string, unknown>, work: () => Promise<void>): Promise<void> => {
    const sleeper = await arena.application(daemon, "sleeper");
    await sleeper.call("sink", { channel: 1, stream: CALM, hold: 100, policy });
    await sleeper.call("calm", { index: 0 });
    process.kill(sleeper.pid, "SIGSTOP");
    try {
      await work();
    } finally {
      await sleeper.kill();
    }
  };

  it.each([{ kind: "drop-newest" }, { kind: "keep-last", depth: 8 }])(
    "holding what it had taken with policy %o loses messages of its own only",
    async (policy) => {
      await arena.attack(() => stopped(policy, () => arena.calm(20_000)));
    },
  );

  it("holding all credits with policy block makes the source say EAGAIN and name it; others go on", async () => {
    const source = await arena.application(daemon, "blocked source");
    const sink = await arena.application(daemon, "stopped sink");
    await sink.call("sink", { channel: 5, stream: "other", hold: 2000 });
    await source.call("source", { channel: 5, stream: "other" });
    await source.call("matched", { index: 0 });
    process.kill(sink.pid, "SIGSTOP");
    try {
      const mark = await arena.mark();
      await source.call("emit", { index: 0, size: 64 });
      const why = await eventually(
        async () => (await source.call("why", { index: 0 }))["result"] as { code: string; message: string } | null,
        (answer) => answer !== null,
      );
      expect(why).toMatchObject({ code: "EAGAIN", message: expect.stringContaining("stopped sink") });
      // The daemon serves others meanwhile, and the innocent do not notice.
      const other = await arena.application(daemon, "other");
      await other.call("source", { channel: 5, stream: "other" });
      await other.kill();
      await arena.calm();
      for (const [pair, { count }] of mark.counts) expect((await arena.received(pair)).count).toBeGreaterThan(count);
    } finally {
      process.kill(sink.pid, "SIGCONT");
      await sink.kill();
    }
    // What the dead one held comes home: the source goes on.
    await source.call("stop", { index: 0 });
    const settled = (await source.call("settled", { index: 0 }))["result"];
    expect(settled).toMatchObject({ outstanding: 0 });
    await source.kill();
    await arena.attack(async () => {});
  });
});

it("in the end everything that was emitted has arrived, and no slot is out", async () => {
  await arena.end();
});

describe("a daemon without descriptors", () => {
  it("refuses what is new, serves who is there, and recovers", async () => {
    await using poor = new Arena();
    const few = await poor.daemon({ limits: { sessions: 200 } });
    await poor.pair("local", few, few, CALM, 1);
    await poor.begin();
    const had = few.footprint().fds;
    // Its limit is lowered from outside, as if it had been started with little.
    const limited = spawnSync("prlimit", ["--pid", String(few.pid), `--nofile=${had + 40}:4096`]);
    if (limited.error) return;
    await poor.attack(
      async () => {
        const clients: HostileClient[] = [];
        try {
          for (let i = 0; i < 60; i++) {
            const client = new HostileClient(few.socket);
            clients.push(client);
            if (client.fd < 0) continue;
            client.fling("hello", hello(`h${i}`), 1);
            client.fling("session.mapped", {}, 2);
            client.fling("stream.open", { name: CALM, qos: QOS }, 3);
            client.fling("pool.open", { stream: 1 }, 4);
            client.fling("sink.open", { stream: 1, channel: 1, policy: { kind: "drop-newest" } }, 5);
          }
          await poor.calm(3000);
        } finally {
          for (const client of clients) client.close();
        }
      },
      /EMFILE/,
      /EMFILE/,
    );
    spawnSync("prlimit", ["--pid", String(few.pid), "--nofile=4096:4096"]);
    using late = await HostileClient.attach(few.socket, "late");
    await late.stream(CALM);
    late.close();
    await poor.end();
  });
});

const hello = (name: string): unknown => ({ ...HostileClient.greeting, name });
