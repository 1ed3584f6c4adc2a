// QoS binding: the default strategy against the paper's rules written down a second time, and what holds for every
// strategy, whatever it answers.
import { readdirSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CapabilityRecord } from "../../src/protocol/control.ts";
import { completeQos, type NetworkTechnology, type Qos, TECHNOLOGIES } from "../../src/protocol/qos.ts";
import { probeAll, probeWith } from "../../src/qos/capabilities.ts";
import { type DecideInput, decide } from "../../src/qos/decide.ts";
import { DEFAULT_STRATEGY, NETWORK_TECHNOLOGIES, type Strategy } from "../../src/qos/strategy.ts";

type Presence = "absent" | "emulated" | "present";
type Host = Readonly<Record<(typeof TECHNOLOGIES)[number], Presence>>;

const capabilitiesOf = (host: Host): CapabilityRecord[] =>
  TECHNOLOGIES.map((technology) => ({
    technology,
    available: host[technology] !== "absent",
    emulated: host[technology] === "emulated",
    reason: `${technology} is ${host[technology]}`,
    evidence: [`looked at ${technology}`],
    cure: host[technology] === "present" ? "" : `install ${technology}`,
  }));

const run = (host: Host, qos: Partial<Qos>, strategy?: DecideInput["strategy"]) =>
  decide({
    qos: completeQos(qos),
    capabilities: capabilitiesOf(host),
    strategy,
    wait: "park",
    trustDomain: "own",
    now: new Date(0),
  });

const everyHost: Host[] = [];
for (const udp of ["absent", "emulated", "present"] as const)
  for (const xdp of ["absent", "emulated", "present"] as const)
    for (const dpdk of ["absent", "emulated", "present"] as const)
      for (const rdma of ["absent", "emulated", "present"] as const)
        for (const shm of ["absent", "present"] as const) everyHost.push({ shm, udp, xdp, dpdk, rdma });
const everyQos: Array<Omit<Qos, "maxMessage">> = [];
for (const acceleration of ["none", "fast"] as const)
  for (const consumption of ["low", "high"] as const)
    for (const timeSensitivity of ["best-effort", "time-sensitive"] as const)
      everyQos.push({ acceleration, consumption, timeSensitivity });

/** The paper, section 5.2, as a decision tree: written from the text, not from the code. */
function paper(host: Host, qos: Omit<Qos, "maxMessage">): NetworkTechnology | null {
  const has = (technology: NetworkTechnology): boolean => host[technology] === "present";
  const kernel = has("udp") ? "udp" : null;
  if (qos.acceleration === "none") return kernel;
  if (has("rdma")) return "rdma";
  const resourcesAreAConcern = qos.consumption === "low";
  if (!resourcesAreAConcern && has("dpdk")) return "dpdk";
  if (has("xdp")) return "xdp";
  return kernel;
}

const cases = everyHost.flatMap((host) => everyQos.map((qos) => ({ host, qos })));
const anyHost = fc.constantFrom(...everyHost);
const anyQos = fc.constantFrom(...everyQos);

describe("the default strategy", () => {
  it("is the paper's, for every host and every quality", () => {
    expect(cases.length).toBe(3 ** 4 * 2 * 8);
    for (const { host, qos } of cases) {
      expect(run(host, qos).datapath, JSON.stringify({ host, qos })).toBe(paper(host, qos));
    }
  });

  it("warns when acceleration was asked for and the kernel serves, and only then", () => {
    for (const { host, qos } of cases) {
      const { datapath, warnings } = run(host, qos);
      const codes = warnings.map(({ code }) => code);
      expect(codes.includes("W_FALLBACK_UDP")).toBe(qos.acceleration === "fast" && datapath === "udp");
      expect(codes.includes("W_NO_NETWORK")).toBe(datapath === null);
      expect(codes.includes("W_NOT_TIME_AWARE")).toBe(qos.timeSensitivity === "time-sensitive");
      expect(codes.includes("W_STRATEGY")).toBe(false);
      for (const { message, cure } of warnings) expect(Math.min(message.length, cure.length)).toBeGreaterThan(10);
    }
  });

  it("never takes an emulated technology", () => {
    for (const { host, qos } of cases) {
      const { datapath } = run(host, qos);
      if (datapath !== null) expect(host[datapath]).toBe("present");
    }
  });

  it("counts an emulated technology as present once its rules say so, and says that it is", () => {
    const emulated = {
      ...DEFAULT_STRATEGY,
      rules: DEFAULT_STRATEGY.rules.map((rule) => ({ ...rule, emulated: true })),
    };
    for (const { host, qos } of cases) {
      const real = Object.fromEntries(
        Object.entries(host).map(([technology, presence]) => [
          technology,
          presence === "emulated" ? "present" : presence,
        ]),
      ) as Host;
      const { datapath, candidates, warnings } = run(host, qos, emulated);
      // Rules that find nothing are not obeyed, and the default takes nothing emulated either.
      if (warnings.some(({ code }) => code === "W_STRATEGY")) continue;
      expect(datapath, JSON.stringify({ host, qos })).toBe(paper(real, qos));
      const chosen = candidates.find(({ verdict }) => verdict === "chosen");
      if (datapath !== null) expect(chosen?.why.includes("emulated")).toBe(host[datapath] === "emulated");
    }
  });

  it("tells why a fast stream runs on UDP: each technology, its finding and its cure", () => {
    const host: Host = { shm: "present", udp: "present", xdp: "absent", dpdk: "present", rdma: "emulated" };
    const decision = run(host, { acceleration: "fast", consumption: "low" });
    const rules = Object.fromEntries(decision.candidates.map(({ technology, rule }) => [technology, rule]));
    expect(rules).toEqual({
      shm: "co-located",
      udp: "resources-concern",
      xdp: "not-available",
      dpdk: "resources-concern",
      rdma: "emulated",
    });
    const [warning] = decision.warnings;
    expect(warning?.message).toContain("xdp (xdp is absent)");
    expect(warning?.message).toContain('consumption "low"');
    expect(warning?.cure).toContain("install xdp");
  });
});

/** Whatever a program can return where a strategy was asked for. */
const anyAnswer = fc.oneof(
  fc.anything(),
  fc.record({
    technology: fc.oneof(fc.constantFrom(...NETWORK_TECHNOLOGIES, "shm", "tcp"), fc.anything(), fc.constant(null)),
    rule: fc.oneof(fc.string(), fc.anything()),
    why: fc.oneof(fc.string(), fc.anything()),
  }),
);
const anyRules = fc.record({
  name: fc.string(),
  rules: fc.array(
    fc.record(
      {
        name: fc.string(),
        when: fc.record(
          {
            acceleration: fc.constantFrom("none", "fast"),
            consumption: fc.constantFrom("low", "high"),
            timeSensitivity: fc.constantFrom("best-effort", "time-sensitive"),
          },
          { requiredKeys: [] },
        ),
        use: fc.shuffledSubarray([...NETWORK_TECHNOLOGIES]),
        emulated: fc.boolean(),
      },
      { requiredKeys: ["use"] },
    ),
    { maxLength: 4 },
  ),
});

describe("any strategy", () => {
  const anyStrategy = fc.oneof(
    anyAnswer.map(
      (answer): Strategy =>
        () =>
          answer as ReturnType<Strategy>,
    ),
    fc.string().map(
      (message): Strategy =>
        () => {
          throw new Error(message);
        },
    ),
    anyRules,
  ) as fc.Arbitrary<NonNullable<DecideInput["strategy"]>>;

  it("ends in a complete record that chooses nothing unavailable", () => {
    fc.assert(
      fc.property(anyHost, anyQos, anyStrategy, (host, qos, strategy) => {
        const { datapath, candidates, warnings } = run(host, qos, strategy);
        expect(candidates.map(({ technology }) => technology)).toEqual([...TECHNOLOGIES]);
        const chosen = candidates.filter(({ verdict }) => verdict === "chosen").map(({ technology }) => technology);
        expect(chosen).toEqual(datapath === null ? [] : [datapath]);
        for (const { rule, why } of candidates) expect(Math.min(rule.length, why.length)).toBeGreaterThan(0);
        if (datapath !== null) expect(host[datapath]).not.toBe("absent");
        expect(warnings.some(({ code }) => code === "W_NO_NETWORK")).toBe(datapath === null);
        expect(warnings.some(({ code }) => code === "W_FALLBACK_UDP")).toBe(
          datapath === "udp" && qos.acceleration === "fast",
        );
      }),
      { numRuns: 500 },
    );
  });

  it("that answers nonsense is reported, and the default decides", () => {
    fc.assert(
      fc.property(anyHost, anyQos, anyStrategy, (host, qos, strategy) => {
        const decision = run(host, qos, strategy);
        if (!decision.warnings.some(({ code }) => code === "W_STRATEGY")) return;
        expect(decision.strategy).toBe("default");
        expect(decision.datapath).toBe(paper(host, qos));
      }),
      { numRuns: 500 },
    );
    const host: Host = { shm: "present", udp: "present", xdp: "absent", dpdk: "absent", rdma: "absent" };
    const odd: Strategy = () => ({ technology: "xdp", rule: "mine", why: "because" });
    const [warning] = run(host, {}, odd).warnings;
    expect(warning?.code).toBe("W_STRATEGY");
    expect(warning?.message).toContain("chose xdp, which is not available (xdp is absent)");
  });

  it("that is sensible is obeyed, and named", () => {
    const host: Host = { shm: "present", udp: "present", xdp: "present", dpdk: "present", rdma: "emulated" };
    const code: Strategy = function fastest() {
      return { technology: "rdma", rule: "test", why: "a test of the software provider" };
    };
    expect(run(host, {}, code)).toMatchObject({ strategy: "fastest", datapath: "rdma", warnings: [] });
    const rules = {
      name: "quiet",
      rules: [{ when: { acceleration: "fast" as const }, use: ["xdp" as const] }, { use: ["udp" as const] }],
    };
    expect(run(host, { acceleration: "fast" }, rules)).toMatchObject({ strategy: "quiet", datapath: "xdp" });
    expect(run(host, {}, rules).datapath).toBe("udp");
    expect(run(host, {}, { name: "none", rules: [{ use: [] }] }).warnings[0]?.code).toBe("W_NO_NETWORK");
  });
});

describe("probing", () => {
  it("finds shared memory and kernel UDP here, and for what is missing a reason and evidence", () => {
    const found = probeAll();
    const fds = readdirSync("/proc/self/fd").length;
    expect(probeAll()).toEqual(found);
    expect(readdirSync("/proc/self/fd").length).toBe(fds);
    expect(found.map(({ technology }) => technology)).toEqual([...TECHNOLOGIES]);
    for (const { technology, available, reason, evidence } of found) {
      if (technology === "shm" || technology === "udp")
        expect({ technology, available }).toEqual({ technology, available: true });
      expect(reason.length).toBeGreaterThan(0);
      expect(evidence.length).toBeGreaterThan(0);
    }
  });

  it("turns a probe that throws into a technology that is not available", () => {
    const found = probeWith({
      sharedMemory: () => {
        throw new Error("no memfd");
      },
      datapath: (technology) => {
        if (technology === "udp") return { available: true, emulated: false, reason: "", evidence: [], cure: "" };
        throw new Error("broken");
      },
    });
    expect(found.map(({ technology }) => technology)).toEqual([...TECHNOLOGIES]);
    expect(found.filter(({ available }) => available).map(({ technology }) => technology)).toEqual(["udp"]);
    expect(found[0]).toMatchObject({ technology: "shm", reason: "no memfd" });
  });
});
