// The protocol models of models/*.pml, each run to the end by Spin: what must hold holds in every state that there is,
// and each variant that leaves out one thing of the code is found out, by the property that the thing is there for.
import { execFile } from "node:child_process";
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const run = promisify(execFile);
const models = join(import.meta.dirname, "..", "..", "models");
const LIMIT = { timeout: 400_000, killSignal: "SIGKILL", maxBuffer: 16 << 20 } as const;

const installed = await run("spin", ["-V"]).then(
  () => true,
  () => false,
);

interface Variant {
  readonly model: string;
  /** What is defined for the model. */
  readonly with?: readonly string[];
  /** The LTL claim to be checked, under weak fairness; without it assertions and deadlocks are looked for. */
  readonly claim?: string;
  /** Longest path, steps; the checker says when it was too short. */
  readonly depth?: number;
}

interface Outcome {
  readonly errors: number;
  /** What the checker found first. */
  readonly found: string;
  readonly states: number;
  /** Nothing was left out for want of memory or depth. */
  readonly whole: boolean;
  /** Statements that no run of the model comes to. */
  readonly unreached: readonly string[];
}

async function check({ model, with: defined = [], claim, depth = 400_000 }: Variant): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), "insane-model-"));
  try {
    const here = { cwd: folder, ...LIMIT };
    const names = defined.map((name) => `-D${name}`);
    const source = join(models, `${model}.pml`);
    await run("spin", ["-a", ...names, source], here);
    await access(join(folder, "pan.c"));
    const kind = claim === undefined ? ["-DSAFETY", "-DNOCLAIM"] : ["-DNFAIR=3"];
    await run("cc", ["-O2", "-w", "-DCOLLAPSE", "-DMEMLIM=3000", ...kind, "-o", "pan", "pan.c"], here);
    const how = claim === undefined ? [] : ["-a", "-f", "-N", claim];
    const { stdout } = await run(join(folder, "pan"), [`-m${depth}`, ...how], here);
    return read(stdout);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function read(output: string): Outcome {
  const number = (pattern: RegExp): number => Number(pattern.exec(output)?.[1] ?? Number.NaN);
  const unreached: string[] = [];
  for (const [, lines] of output.matchAll(/^unreached in proctype \S+\n((?:\t.*\n)*)/gm)) {
    for (const [, statement] of (lines ?? "").matchAll(/state \d+, "(.*)"$/gm)) {
      if (statement !== undefined && statement !== "-end-") unreached.push(statement);
    }
  }
  return {
    errors: number(/errors: (\d+)/),
    found: /^pan:1: (.*?)(?: \(at depth \d+\))?$/m.exec(output)?.[1] ?? "",
    states: number(/(\d+) states, stored/),
    whole: !/max search depth too small|reached -DMEMLIM|out of memory|Search not completed/i.test(output),
    unreached,
  };
}

/** Nothing is found, nothing was left out. What is never reached must be named: else a model could hold for doing nothing. */
function holds(what: string, variant: Variant, unreached: readonly string[] = []): void {
  it(what, async () => {
    const outcome = await check(variant);
    expect(outcome).toMatchObject({ errors: 0, found: "", whole: true });
    expect(outcome.states).toBeGreaterThan(1000);
    if (variant.claim === undefined) expect(outcome.unreached).toEqual(unreached);
  });
}

/** Without that, it is found out by this. */
function breaks(what: string, variant: Variant, by: string): void {
  it(what, async () => {
    const outcome = await check(variant);
    expect(outcome.errors, "errors").toBe(1);
    expect(outcome.found).toContain(by);
  });
}

const LOST = "acceptance cycle";

describe.skipIf(!installed)("a link", () => {
  holds(
    "carries each message once and in order, and every slot comes home once",
    {
      model: "link",
      with: ["ENTRIES=3"],
      depth: 1_000_000,
    },
    ["waiting = 0", "producer_faulted = 1"],
  );
  holds("with a consumer that writes anything never uses a live entry again", {
    model: "link",
    with: ["ENTRIES=3", "HOSTILE_CONSUMER"],
  });
  holds("with a producer that writes anything never takes more than it has room for", {
    model: "link",
    with: ["ENTRIES=3", "HOSTILE_PRODUCER"],
  });
  breaks(
    "whose tail may come before its descriptors is misread",
    { model: "link", with: ["NO_RELEASE"] },
    "seen_index",
  );
  breaks(
    "whose descriptors are read before its tail is misread",
    { model: "link", with: ["NO_ACQUIRE"] },
    "seen_index",
  );
  breaks(
    "whose returns may come before the payload was read has it overwritten",
    { model: "link", with: ["NO_RETURN_RELEASE"] },
    "payload[held_slot[late]]",
  );
  breaks(
    "that does not look at live bits takes an entry back twice",
    { model: "link", with: ["HOSTILE_CONSUMER", "NO_LIVE_CHECK"] },
    "slot_out[shadow_slot[entry]]",
  );
  breaks(
    "that reads a return a second time after it checked it is cheated",
    { model: "link", with: ["HOSTILE_CONSUMER", "READ_TWICE"] },
    "slot_out[shadow_slot[entry]]",
  );
  breaks(
    "that does not look where a tail is takes more than it has room for",
    { model: "link", with: ["HOSTILE_PRODUCER", "NO_TAIL_WINDOW"] },
    "consumer_returned",
  );
});

describe.skipIf(!installed)("a doorbell", () => {
  holds("is rung whenever somebody sleeps who wished for it", { model: "doorbell", claim: "woken" });
  holds("needs no more generations than are remembered", { model: "doorbell" });
  const without = (what: string, name: string): void =>
    breaks(what, { model: "doorbell", with: [name], claim: "woken" }, LOST);
  without("without fences misses a wake-up", "NO_FENCE");
  without("without the ringer's fence misses a wake-up", "NO_RINGER_FENCE");
  without("without the sleeper's fence misses a wake-up", "NO_SLEEPER_FENCE");
  without("without a look before sleep misses a wake-up", "NO_SECOND_LOOK");
  without("whose generations are soon the same again misses a wake-up", "WRAPS");
});

describe.skipIf(!installed)("the inline lease", () => {
  const AWAKE = ["word = 0", "asleep = 0", "parked = 0"];
  holds(
    "never lets two threads into a turn",
    {
      model: "lease",
      with: ["COMMANDS", "MESSAGES", "STOPS"],
      // The thread finds itself parked only where it woke up.
    },
    AWAKE,
  );
  const KINDS = ["commands", "messages", "datagrams"];
  for (const kind of KINDS) {
    const work = kind.toUpperCase();
    holds(`leaves no ${kind} lying, whether the owner polls, sleeps or stays away`, {
      model: "lease",
      with: [work],
      claim: kind,
    });
    breaks(
      `leaves ${kind} lying when an owner that was taken over from comes in without a kick`,
      { model: "lease", with: [work, "STALE_OWNER"], claim: kind },
      LOST,
    );
  }
  holds("ends when control says so", { model: "lease", with: ["COMMANDS", "STOPS"], claim: "stops" });
  const without = (what: string, name: string): void =>
    breaks(what, { model: "lease", with: ["COMMANDS", name], claim: "commands" }, LOST);
  without("without a fence before the look at `asleep` leaves commands lying", "NO_KICK_FENCE");
  without("without a fence before the last look at work leaves commands lying", "NO_SLEEP_FENCE");
  without("whose thread sleeps without a look at the owner leaves commands lying", "NO_OWNER_LOOK");
  without("whose owner comes back without a kick leaves commands lying", "NO_RETURN_KICK");
  breaks(
    "without its lock lets two threads into a turn",
    { model: "lease", with: ["COMMANDS", "NO_LOCK"] },
    "turning==1",
  );
});

describe.skipIf(!installed)("attaching", () => {
  holds("lets no consumer write, pushes nothing unexpected, releases everything once", { model: "attach" });
  holds("unmaps nothing that an engine may touch", { model: "attach", with: ["ENGINE"] });
  const wrong = (what: string, names: string[], by: string): void => breaks(what, { model: "attach", with: names }, by);
  wrong("to a memfd that admits no more seals lets a consumer write", ["SEALED_AT_BIRTH"], "consumer_writes");
  wrong("to a memfd that is shut before its producer has mapped it locks it out", ["SHUT_AT_BIRTH"], "producer_writes");
  wrong("of consumers before the seal lets them write", ["SHARED_EARLY"], "consumer_writes");
  wrong("without waiting for the consumer pushes what nobody expects", ["NO_CONSUMER_ACK"], "consumer_knows");
  wrong("undone at the producer first overwrites what is being read", ["PRODUCER_FIRST"], "message!=");
  wrong("undone at a death as well as at the end releases twice", ["RELEASED_AT_DEATH"], "link_released");
  wrong("without quarantine unmaps under an engine", ["ENGINE", "NO_QUARANTINE"], "link_released==0");
  wrong("undone without asking the engine unmaps under it", ["ENGINE", "NO_COMMAND"], "link_released==0");
});

describe.skipIf(!installed)("a stream that moves to another datapath", () => {
  const told = "elsewhere!sent";
  const missed = "expected = number";
  holds("loses, doubles and reorders nothing", { model: "rebind" }, [told, missed, missed, missed]);
  holds(
    "over a path that loses messages, markers and echoes counts what is lost",
    { model: "rebind", with: ["LOSSY"] },
    [told, missed],
  );
  holds("from a path that ends counts what was on it", { model: "rebind", with: ["DEAD"] }, [missed, missed]);
  holds("from a path that loses and then ends counts both", { model: "rebind", with: ["LOSSY", "DEAD"] });
  const wrong = (what: string, names: string[], by: string): void => breaks(what, { model: "rebind", with: names }, by);
  const [order, books] = ["number>=due", "received+lost"];
  wrong("without waiting for the echo is overtaken", ["NO_MARKER"], order);
  wrong("whose marker goes before its link is empty is overtaken", ["EARLY_MARKER"], order);
  wrong("whose marker goes before its link is empty misses what is lost behind it", ["EARLY_MARKER", "LOSSY"], books);
  wrong("whose receiver echoes before it has published is overtaken", ["EARLY_ECHO"], order);
  wrong("whose sink takes from the new link at once is overtaken", ["NO_ORDER"], order);
  wrong("whose sink looks at the new link only after the old one is overtaken", ["NO_LOOK"], order);
  wrong("from a path that ends without another to tell of it misses what was on it", ["DEAD", "NO_ELSEWHERE"], books);
});

describe.skipIf(!installed)("a stream that moves back and forth", () => {
  const never = "other = (other+1)"; // the other source stays on one link
  holds("is taken in order by a sink that looks now and then", { model: "order" }, [never, never]);
  const wrong = (what: string, names: string[]): void => breaks(what, { model: "order", with: names }, "number==due");
  wrong("is overtaken where the first message of a flow does not wait for the other link", ["NO_ORDER"]);
  wrong("is overtaken where what is taken before it has no limit", ["NO_LIMIT"]);
});
