// Gate schedules as an operator writes them: what is refused and with which arithmetic, and that what is promised to
// streams fits into the windows. The same arithmetic in C is tested in test/native/test_gates.c, on the same numbers.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InsaneError } from "../../src/protocol/codes.ts";
import { completeQos, DEFAULT_QOS, defaultStreamName } from "../../src/protocol/qos.ts";
import { decide } from "../../src/qos/decide.ts";
import {
  CLASSES,
  datagramFrames,
  firstCycle,
  type GateSchedule,
  messageFrames,
  refusalOf,
  reservationOf,
  scheduleFaults,
  shareOf,
  trafficClassOf,
  windowsOf,
} from "../../src/qos/gates.ts";
import { completeConfig } from "../../src/runtime/config.ts";
import { Gates, type Promised } from "../../src/runtime/gates.ts";

const NOW = 1_800_000_000_000_000_000n;

const schedules = fc
  .record({
    lineRateMbps: fc.constantFrom(100, 1000, 10_000),
    marginNs: fc.integer({ min: 0, max: 20_000 }),
    baseTime: fc.constantFrom(0, "1800000000000000000", "1800000001000000000"),
    entries: fc.array(
      fc.record({ gates: fc.integer({ min: 0, max: 255 }), intervalNs: fc.integer({ min: 1, max: 400_000 }) }),
      { minLength: 1, maxLength: 16 },
    ),
  })
  .map(
    (partial): GateSchedule => ({
      ...partial,
      cycleNs: partial.entries.reduce((sum, { intervalNs }) => sum + intervalNs, 0),
    }),
  );

/** 1 ms: 200 us for class 7, 800 us for all others, at 1 Gbit/s. */
const HALVES: GateSchedule = {
  lineRateMbps: 1000,
  baseTime: 0,
  cycleNs: 1_000_000,
  marginNs: 10_000,
  entries: [
    { gates: 0x80, intervalNs: 200_000 },
    { gates: 0x7f, intervalNs: 800_000 },
  ],
};

/** Whether the gate of a class is open, some ns into a cycle. */
const isOpen = ({ entries }: GateSchedule, trafficClass: number, at: number): boolean => {
  let end = 0;
  for (const { gates, intervalNs } of entries) {
    end += intervalNs;
    if (at < end) return ((gates >> trafficClass) & 1) === 1;
  }
  throw new RangeError("beyond the cycle");
};

const faultsOf = (schedule: unknown): string => {
  try {
    completeConfig({ network: { schedule: schedule as GateSchedule } });
  } catch (cause) {
    expect(cause).toBeInstanceOf(InsaneError);
    expect((cause as InsaneError).code).toBe("ECONFIG");
    return (cause as InsaneError).message;
  }
  return "";
};

describe("a frame on the line", () => {
  it("is as long as the wire makes it", () => {
    expect(datagramFrames(1472, 1500, 1000)).toEqual({ frames: 1, bytes: 1542, ns: 12_336 });
    expect(datagramFrames(0, 1500, 1000)).toEqual({ frames: 1, bytes: 88, ns: 704 });
    expect(datagramFrames(18, 1500, 1000).bytes).toBe(88);
    expect(datagramFrames(19, 1500, 1000).bytes).toBe(89);
    expect(datagramFrames(1473, 1500, 1000)).toMatchObject({ frames: 2, bytes: 1481 + 2 * 62 });
    expect(datagramFrames(65_507, 1500, 1000)).toMatchObject({ frames: 45, bytes: 65_515 + 45 * 62 });
    expect(datagramFrames(0, 1500, 10_000).ns).toBe(71);
    expect(messageFrames(1000, 1500, 1000).bytes).toBe(1000 + 48 + 28 + 42);
  });

  it("takes no less when it is longer", () => {
    fc.assert(
      fc.property(fc.nat(65_000), fc.nat(500), fc.constantFrom(576, 1500, 9000), (length, more, mtu) => {
        expect(datagramFrames(length + more, mtu, 1000).ns).toBeGreaterThanOrEqual(
          datagramFrames(length, mtu, 1000).ns,
        );
      }),
    );
  });
});

describe("windows", () => {
  it("are what the list says, also over the end of a cycle", () => {
    fc.assert(
      fc.property(schedules, fc.integer({ min: 0, max: CLASSES - 1 }), (schedule, trafficClass) => {
        const { longest, sum } = windowsOf(schedule, trafficClass);
        // Entry by entry, twice around.
        const open = schedule.entries.map(({ gates }) => ((gates >> trafficClass) & 1) === 1);
        let [run, best, total] = [0, 0, 0];
        for (let i = 0; i < 2 * open.length; i++) {
          const { intervalNs } = schedule.entries[i % open.length]!;
          run = open[i % open.length] ? run + intervalNs : 0;
          best = Math.max(best, run);
          if (i < open.length && open[i]) total += intervalNs;
        }
        expect(sum).toBe(total);
        expect(longest).toBe(open.every(Boolean) ? Number.POSITIVE_INFINITY : best);
      }),
    );
  });
});

describe("a schedule in the configuration", () => {
  it("is completed and taken", () => {
    const { network } = completeConfig({
      network: {
        schedule: { lineRateMbps: 1000, cycleNs: 1_000_000, entries: HALVES.entries } as unknown as GateSchedule,
      },
    });
    expect(network.schedule).toMatchObject({ baseTime: 0, cycleNs: 1_000_000, lineRateMbps: 1000 });
    expect(network.schedule?.marginNs).toBeGreaterThan(0);
    expect(completeConfig({}).network.schedule).toBeNull();
  });

  it("that does not add up is refused with the sum", () => {
    const message = faultsOf({ ...HALVES, cycleNs: 999_999 });
    expect(message).toContain("network.schedule.cycleNs is 999999");
    expect(message).toContain("200,000 + 800,000 = 1,000,000 ns, which is 1 ns more");
    expect(faultsOf({ ...HALVES, cycleNs: 1_000_500 })).toContain("which is 500 ns less");
    fc.assert(
      fc.property(schedules, fc.integer({ min: -1000, max: 1000 }), (schedule, off) => {
        fc.pre(off !== 0 && schedule.cycleNs + off > 0);
        const [fault] = scheduleFaults({ ...schedule, cycleNs: schedule.cycleNs + off }, NOW);
        expect(fault?.field).toBe("cycleNs");
      }),
    );
  });

  it("with a cycle of zero, a gate that is none, no entry or no line rate is refused by its field", () => {
    expect(faultsOf({ ...HALVES, cycleNs: 0 })).toContain("network.schedule.cycleNs is 0");
    expect(faultsOf({ ...HALVES, entries: [] })).toContain("network.schedule.entries");
    expect(faultsOf({ ...HALVES, lineRateMbps: 0 })).toContain("network.schedule.lineRateMbps");
    expect(faultsOf({ ...HALVES, entries: [{ gates: 256, intervalNs: 1_000_000 }] })).toContain("entries.0.gates");
    expect(faultsOf({ ...HALVES, entries: [{ gates: 1, intervalNs: 0 }] })).toContain("entries.0.intervalNs");
    expect(faultsOf({ ...HALVES, baseTime: -1 })).toContain("network.schedule.baseTime");
    expect(faultsOf({ ...HALVES, baseTime: "soon" })).toContain("network.schedule.baseTime");
    expect(faultsOf({ ...HALVES, entries: undefined })).toContain("network.schedule.entries");
    expect(faultsOf({ ...HALVES, gates: 3 })).toContain("network.schedule.gates");
  });

  it("with a window too short for one frame is refused with both lengths", () => {
    const short: GateSchedule = {
      ...HALVES,
      entries: [
        { gates: 0x80, intervalNs: 10_500 },
        { gates: 0x7f, intervalNs: 989_500 },
      ],
    };
    const message = faultsOf(short);
    expect(message).toContain("a window of 10,500 ns for class 7");
    expect(message).toContain("88 bytes at 1000 Mbit/s take 704 ns, with marginNs 10,704 ns");
    const none = faultsOf({ ...HALVES, entries: [{ gates: 0x80, intervalNs: 1_000_000 }] });
    expect(none).toContain("no window for class 0");
    expect(none).toContain("1542 bytes at 1000 Mbit/s take 12,336 ns, with marginNs 22,336 ns");
  });

  it("whose base time is past is refused with the one that would do; one too far away as well", () => {
    fc.assert(
      fc.property(schedules, fc.bigInt({ min: 1n, max: 10n ** 13n }), (schedule, ago) => {
        const past = { ...schedule, baseTime: String(NOW - ago) };
        const [fault] = scheduleFaults(past, NOW).filter(({ field }) => field === "baseTime");
        const [, next, phase] = /begins at "(\d+)", and its phase is (\d+)$/.exec(fault?.allowed ?? "") ?? [];
        expect(BigInt(next ?? 0) >= NOW && BigInt(next ?? 0) - NOW < BigInt(schedule.cycleNs)).toBe(true);
        for (const baseTime of [next, phase] as string[]) {
          expect(scheduleFaults({ ...schedule, baseTime }, NOW).map(({ field }) => field)).not.toContain("baseTime");
          expect(firstCycle({ ...schedule, baseTime }, NOW).begin).toBe(BigInt(next ?? 0));
        }
        const { begin, cycles } = firstCycle({ ...schedule, baseTime: String(NOW - ago) }, NOW);
        expect(begin - (NOW - ago)).toBe(cycles * BigInt(schedule.cycleNs));
        expect(begin >= NOW && begin - NOW < BigInt(schedule.cycleNs)).toBe(true);
      }),
    );
    expect(firstCycle({ ...HALVES, baseTime: String(NOW + 5n) }, NOW)).toEqual({ begin: NOW + 5n, cycles: 0n });
    const far = scheduleFaults({ ...HALVES, baseTime: String(NOW + 2n * 86_400_000_000_000n) }, NOW);
    expect(far[0]?.field).toBe("baseTime");
    expect(far[0]?.allowed).toContain("172800 s later");
  });
});

describe("a stream", () => {
  const streams = fc.record({
    maxMessage: fc.integer({ min: 1, max: 65_000 }),
    trafficClass: fc.integer({ min: 1, max: 7 }),
  });

  it("has class 0 unless it is time-sensitive, then 7 or what it says", () => {
    expect(trafficClassOf(DEFAULT_QOS)).toBe(0);
    expect(trafficClassOf(completeQos({ timeSensitivity: "time-sensitive" }))).toBe(7);
    expect(trafficClassOf(completeQos({ timeSensitivity: "time-sensitive", trafficClass: 3 }))).toBe(3);
    const plain = completeQos({ timeSensitivity: "time-sensitive" });
    expect(defaultStreamName(plain)).not.toBe(defaultStreamName({ ...plain, trafficClass: 3 }));
  });

  it("that is refused for its size is told a size that fits, the largest", () => {
    fc.assert(
      fc.property(schedules, streams, fc.constantFrom(1500, 9000), (schedule, wanted, mtu) => {
        const qos = completeQos({ ...wanted, timeSensitivity: "time-sensitive" });
        const refusal = refusalOf({ schedule, mtu }, qos, 0);
        const told = /a maxMessage of ([\d,]+) fits$/.exec(refusal ?? "")?.[1];
        if (told === undefined) return;
        const largest = Number(told.replaceAll(",", ""));
        expect(largest).toBeLessThan(wanted.maxMessage);
        const { longest } = windowsOf(schedule, wanted.trafficClass);
        const fits = (length: number): boolean =>
          messageFrames(length, mtu, schedule.lineRateMbps).ns + schedule.marginNs <= longest;
        expect(largest === 0 || fits(largest)).toBe(true);
        expect(fits(largest + 1)).toBe(false);
      }),
    );
  });

  it("is told why it does not fit", () => {
    const port = { schedule: HALVES, mtu: 1500 };
    const large = completeQos({ timeSensitivity: "time-sensitive" });
    expect(refusalOf(port, large, 0)).toBe(
      "a message of 65,536 bytes is 45 frames of 68,382 bytes in all at MTU 1500 and takes 547,056 ns at 1000 Mbit/s, with a margin of 10,000 ns that is 557,056 ns; the longest window of class 7 has 200,000 ns: a maxMessage of 22,702 fits",
    );
    expect(
      refusalOf({ ...port, schedule: { ...HALVES, entries: [{ gates: 1, intervalNs: 1_000_000 }] } }, large, 0),
    ).toBe("traffic class 7 has no window in the schedule (no class but 0 has one)");
  });

  it("is admitted as long as all that is promised fits into the cycle, and gives its promise back", () => {
    const mtu = 1500;
    fc.assert(
      fc.property(
        schedules,
        fc.array(fc.record({ ...{ qos: streams }, leaves: fc.boolean() }), { maxLength: 40 }),
        (schedule, arrivals) => {
          const gates = new Gates({
            decide: (qos) => decide({ qos, capabilities: UDP, wait: "", trustDomain: "", now: new Date(0) }),
            port: () => ({ schedule, mtu }),
          });
          const held = new Map<number, number>();
          for (const { qos: wanted, leaves } of arrivals) {
            const qos = completeQos({ ...wanted, timeSensitivity: "time-sensitive" });
            const ns = reservationOf({ schedule, mtu }, qos);
            const before = held.get(wanted.trafficClass) ?? 0;
            const { longest, sum } = windowsOf(schedule, wanted.trafficClass);
            const fits = longest > 0 && ns + schedule.marginNs <= longest && before + ns <= sum;
            let leave: Promised | null = null;
            try {
              leave = gates.admit("s", qos);
            } catch (cause) {
              expect((cause as InsaneError).code).toBe("ESCHEDULE");
            }
            expect(leave !== null).toBe(fits);
            if (leave === null) continue;
            if (leaves) {
              leave.release();
              leave.release();
            } else held.set(wanted.trafficClass, before + ns);
          }
          expect(() => gates.admit("best effort", DEFAULT_QOS)).not.toThrow();
        },
      ),
    );
  });

  it("that has left is promised nothing any more", async () => {
    const gates = new Gates({
      decide: (qos) => decide({ qos, capabilities: UDP, wait: "", trustDomain: "", now: new Date(0) }),
      port: () => ({ schedule: HALVES, mtu: 1500 }),
    });
    const qos = completeQos({ timeSensitivity: "time-sensitive", maxMessage: 10_000 });
    // Two fit into the window of a cycle, three do not.
    for (let i = 0; i < 8; i++) {
      const promised = gates.admit("s", qos);
      promised.release();
      await expect(promised.change(qos, [], 1)).rejects.toMatchObject({ code: "ECLOSED" });
    }
  });

  it("is warned only where there is no schedule", () => {
    const qos = completeQos({ timeSensitivity: "time-sensitive" });
    const codes = (timeAware: boolean): string[] =>
      decide({ qos, capabilities: UDP, wait: "", trustDomain: "", now: new Date(0), timeAware }).warnings.map(
        ({ code }) => code,
      );
    expect(codes(true)).not.toContain("W_NOT_TIME_AWARE");
    expect(codes(false)).toContain("W_NOT_TIME_AWARE");
  });
});

describe("engines that share a line", () => {
  it("together do not use more than it has", () => {
    fc.assert(
      fc.property(schedules, fc.integer({ min: 1, max: 4 }), (schedule, engines) => {
        const share = shareOf(schedule, engines)!;
        expect(share.lineRateMbps * engines).toBeLessThanOrEqual(schedule.lineRateMbps);
        expect(isOpen(share, 0, 0)).toBe(isOpen(schedule, 0, 0));
      }),
    );
    expect(shareOf(null, 2)).toBeNull();
  });
});

const UDP = (["shm", "udp"] as const).map((technology) => ({
  technology,
  available: true,
  emulated: false,
  reason: "",
  evidence: [],
  cure: "",
}));
