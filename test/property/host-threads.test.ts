// What `insane doctor` says of threads: for every host something that is right, and a cure where there is one.
import { describe, expect, it } from "vitest";
import { modesHere, realTimeHere, type ThreadFacts, threadFacts } from "../../src/apps/cli/host-threads.ts";

const host = (facts: Partial<ThreadFacts> = {}): ThreadFacts => ({
  ...{ cores: 4, allowed: "0-3", priority: 0, privileged: false, realtimeMicros: 950_000 },
  ...facts,
});

describe("what doctor says of threads", () => {
  it.each([
    [1, "no engine gets a core to itself"],
    [2, "the engine of kernel UDP alone"],
    [8, "engines may spin"],
  ])("with %i cores says who could spin", (cores, words) => {
    const said = modesHere(host({ cores }));
    expect(said).toContain(words);
    expect(said).toContain(`${cores} core${cores === 1 ? "" : "s"} for this process (0-3)`);
    for (const mode of ["park", "spin", "inline"]) expect(said).toContain(`"${mode}"`);
  });

  it.each([
    [{}, "not permitted", "LimitRTPRIO"],
    [{ priority: 40 }, "priorities up to 40", ""],
    [{ privileged: true }, "any priority), for at most 95 %", ""],
    [{ privileged: true, realtimeMicros: -1 }, "for good", "sched_rt_runtime_us"],
    [{ priority: 1, realtimeMicros: -1, cores: 1 }, "for good", "Leave engine.fifoPriority out"],
  ])("of real-time priority, for %j, says %s", (facts, words, cure) => {
    const said = realTimeHere(host(facts));
    expect(said.finding).toContain(words);
    if (cure === "") expect(said.cure).toBe("");
    else expect(said.cure).toContain(cure);
  });

  it("can be found out here", () => {
    const facts = threadFacts();
    expect(facts.cores).toBeGreaterThan(0);
    expect(facts.allowed).toMatch(/^[\d,-]+$/);
    expect(Number.isInteger(facts.priority) && Number.isInteger(facts.realtimeMicros)).toBe(true);
  });
});
