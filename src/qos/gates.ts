// Gate schedules (IEEE 802.1Qbv) as an operator writes them: what is wrong with one, with the arithmetic; how long a
// message occupies the line; whether a time-sensitive stream fits. Pure. The same arithmetic in C: native/core/gates.c.
import { DEFAULT_TRAFFIC_CLASS, type Qos } from "../protocol/qos.ts";
import { WIRE } from "../protocol/wire.ts";

/** One entry of a gate control list. */
export interface GateEntry {
  /** Bit c: the gate of traffic class c is open. */
  readonly gates: number;
  readonly intervalNs: number;
}

/** When which traffic class may send, again and again. */
export interface GateSchedule {
  /** Of the line that the frames leave on, Mbit/s. */
  readonly lineRateMbps: number;
  /**
   * CLOCK_TAI in ns at which the first cycle begins; beyond 2^53 as a decimal string. One that is past is advanced by
   * whole cycles (802.1Q, 8.6.9.1.1), so that a configuration outlives a restart: it says where cycles begin, not when.
   */
  readonly baseTime: number | string;
  readonly cycleNs: number;
  /** A frame is over so long before its window is, for what it takes to hand it to the kernel. */
  readonly marginNs: number;
  readonly entries: ReadonlyArray<GateEntry>;
}

export const CLASSES = 8;
/** What it takes to hand a frame to the kernel, almost always. */
export const DEFAULT_MARGIN_NS = 15_000;
export const MAX_ENTRIES = 64;
/** Intervals and cycles in C are at most this. */
export const MAX_CYCLE_NS = 4_000_000_000;
/** A base time that is farther away is a mistake in its unit or its clock. */
export const FARTHEST_BASE_NS = 24n * 3_600_000_000_000n;
/** What every network carries; the port's own MTU is known when its datapath is open. */
export const USUAL_MTU = 1500;
const BEST_EFFORT = 0;

/** Bytes of a frame beside its IP datagram: preamble 8, header 14, VLAN tag 4, check sequence 4, gap 12. */
export const FRAME_OVERHEAD = 42;
const LEAST_DATAGRAM = 46;
const IP_HEADER = 20;
const UDP_HEADER = 8;

export interface Frames {
  readonly frames: number;
  /** On the line, with all overhead. */
  readonly bytes: number;
  readonly ns: number;
}

/** What a datagram with so many bytes of UDP payload takes on the line; beyond the MTU it leaves as IP fragments. */
export function datagramFrames(udpPayload: number, mtu: number, lineRateMbps: number): Frames {
  const datagram = udpPayload + UDP_HEADER;
  let frames = 1;
  if (datagram + IP_HEADER > mtu) frames = Math.ceil(datagram / (Math.floor((mtu - IP_HEADER) / 8) * 8));
  const bytes = Math.max(datagram + frames * (IP_HEADER + FRAME_OVERHEAD), frames * (LEAST_DATAGRAM + FRAME_OVERHEAD));
  return { frames, bytes, ns: Math.ceil((bytes * 8000) / lineRateMbps) };
}

/** The same for a message. */
export const messageFrames = (length: number, mtu: number, lineRateMbps: number): Frames =>
  datagramFrames(length + WIRE.HEADER, mtu, lineRateMbps);

/** The longest window of a class and the sum of its windows in a cycle, ns. Open all the time: the longest is Infinity. */
export function windowsOf(
  { entries, cycleNs }: GateSchedule,
  trafficClass: number,
): { readonly longest: number; readonly shortest: number; readonly sum: number } {
  const open = entries.map(({ gates }) => ((gates >> trafficClass) & 1) === 1);
  const sum = entries.reduce((ns, { intervalNs }, i) => ns + (open[i] ? intervalNs : 0), 0);
  const first = open.indexOf(false);
  if (first < 0) return { longest: Number.POSITIVE_INFINITY, shortest: Number.POSITIVE_INFINITY, sum: cycleNs };
  // From a closed entry around: a window may reach over the cycle's end.
  const windows: number[] = [];
  let window = 0;
  for (let i = 1; i <= entries.length; i++) {
    const at = (first + i) % entries.length;
    if (open[at]) window += entries[at]?.intervalNs ?? 0;
    else if (window > 0) {
      windows.push(window);
      window = 0;
    }
  }
  return { longest: Math.max(0, ...windows), shortest: windows.length === 0 ? 0 : Math.min(...windows), sum };
}

/** What is wrong with a field of a schedule. */
export interface ScheduleFault {
  /** Below the schedule, such as `entries.2.gates`; empty: the whole. */
  readonly field: string;
  readonly value: unknown;
  readonly allowed: string;
}

/** Everything that is wrong with a schedule whose fields have the right types. `nowNs`: CLOCK_TAI. */
export function scheduleFaults(schedule: GateSchedule, nowNs: bigint): ScheduleFault[] {
  const { entries, cycleNs, marginNs, lineRateMbps } = schedule;
  const faults: ScheduleFault[] = [];
  const sum = entries.reduce((ns, { intervalNs }) => ns + intervalNs, 0);
  if (sum !== cycleNs) {
    faults.push({
      field: "cycleNs",
      value: cycleNs,
      allowed: `the sum of the intervals, ${terms(entries.map(({ intervalNs }) => intervalNs))} = ${ns(sum)}, which is ${ns(Math.abs(sum - cycleNs))} ${sum > cycleNs ? "more" : "less"}`,
    });
    return faults;
  }
  const ahead = baseTimeNs(schedule) - nowNs;
  if (ahead > FARTHEST_BASE_NS) {
    faults.push({
      field: "baseTime",
      value: schedule.baseTime,
      allowed: `at most a day to come (CLOCK_TAI in ns; now is ${nowNs}, this is ${ahead / 1_000_000_000n} s later)`,
    });
  }
  const phase = baseTimeNs(schedule) % BigInt(cycleNs);
  if (ahead < 0n && baseTimeNs(schedule) !== phase) {
    const { begin, cycles } = firstCycle(schedule, nowNs);
    faults.push({
      field: "baseTime",
      value: schedule.baseTime,
      allowed: `a time to come, or a phase below the cycle, counted from 1970: this is ${ns(Number(-ahead))} past; ${cycles} cycles of ${ns(cycleNs)} later the next one begins at "${begin}", and its phase is ${phase}`,
    });
  }
  const least = datagramFrames(0, USUAL_MTU, lineRateMbps);
  const full = datagramFrames(USUAL_MTU - IP_HEADER - UDP_HEADER, USUAL_MTU, lineRateMbps);
  for (let trafficClass = 0; trafficClass < CLASSES; trafficClass++) {
    const { shortest, longest } = windowsOf(schedule, trafficClass);
    if (longest > 0 && shortest < least.ns + marginNs) {
      faults.push({
        field: "entries",
        value: `a window of ${ns(shortest)} for class ${trafficClass}`,
        allowed: `windows that hold the smallest frame: ${least.bytes} bytes at ${lineRateMbps} Mbit/s take ${ns(least.ns)}, with marginNs ${ns(least.ns + marginNs)}`,
      });
    }
  }
  const { longest } = windowsOf(schedule, BEST_EFFORT);
  if (longest < full.ns + marginNs) {
    faults.push({
      field: "entries",
      value: longest === 0 ? "no window for class 0" : `windows of at most ${ns(longest)} for class 0`,
      allowed: `a window for class 0, best effort, that holds a full frame: ${full.bytes} bytes at ${lineRateMbps} Mbit/s take ${ns(full.ns)}, with marginNs ${ns(full.ns + marginNs)}`,
    });
  }
  return faults;
}

export const baseTimeNs = ({ baseTime }: GateSchedule): bigint => BigInt(baseTime);

/** The first cycle that begins at `nowNs` or later, and by how many cycles the base time is advanced to it. */
export function firstCycle(schedule: GateSchedule, nowNs: bigint): { readonly begin: bigint; readonly cycles: bigint } {
  const base = baseTimeNs(schedule);
  const cycle = BigInt(schedule.cycleNs);
  const cycles = base >= nowNs ? 0n : (nowNs - base + cycle - 1n) / cycle;
  return { begin: base + cycles * cycle, cycles };
}

/** What one of so many engines that send on the same line may use of it: an even share, so that together they fit. */
export const shareOf = (schedule: GateSchedule | null, engines: number): GateSchedule | null =>
  schedule === null ? null : { ...schedule, lineRateMbps: Math.floor(schedule.lineRateMbps / engines) };

/** The traffic class of a stream's messages. */
export const trafficClassOf = ({ timeSensitivity, trafficClass }: Qos): number =>
  timeSensitivity === "best-effort" ? BEST_EFFORT : (trafficClass ?? DEFAULT_TRAFFIC_CLASS);

/** A traffic class belongs to time-sensitive streams alone. */
export function classed(qos: Qos): Qos {
  const { trafficClass, ...plain } = qos;
  return qos.timeSensitivity === "best-effort" || trafficClass === undefined ? plain : qos;
}

/** The port that a schedule is for. */
export interface GatePort {
  readonly schedule: GateSchedule;
  readonly mtu: number;
}

/** ns of each cycle that a time-sensitive stream is promised: one message of the largest size. */
export const reservationOf = ({ schedule, mtu }: GatePort, qos: Qos): number =>
  messageFrames(qos.maxMessage, mtu, schedule.lineRateMbps).ns;

/**
 * Null, or why a time-sensitive stream does not fit, with the arithmetic: its largest message into a window of its
 * class, and one such message a cycle beside those promised already (`promisedNs`, of the same class).
 */
export function refusalOf(port: GatePort, qos: Qos, promisedNs: number): string | null {
  const { schedule, mtu } = port;
  const { lineRateMbps, marginNs, cycleNs } = schedule;
  const trafficClass = trafficClassOf(qos);
  const { longest, sum } = windowsOf(schedule, trafficClass);
  if (longest === 0) {
    const open = [...Array(CLASSES).keys()].filter((other) => other > 0 && windowsOf(schedule, other).longest > 0);
    const others = open.length === 0 ? "no class but 0 has one" : `classes with one: ${open.join(", ")}`;
    return `traffic class ${trafficClass} has no window in the schedule (${others})`;
  }
  const { frames, bytes, ns: needed } = messageFrames(qos.maxMessage, mtu, lineRateMbps);
  const message = `a message of ${number(qos.maxMessage)} bytes is ${frames} ${frames === 1 ? "frame" : "frames"} of ${number(bytes)} bytes in all at MTU ${mtu} and takes ${ns(needed)} at ${lineRateMbps} Mbit/s`;
  if (needed + marginNs > longest) {
    return `${message}, with a margin of ${ns(marginNs)} that is ${ns(needed + marginNs)}; the longest window of class ${trafficClass} has ${ns(longest)}: a maxMessage of ${number(largestMessage(port, longest - marginNs))} fits`;
  }
  if (promisedNs + needed > sum) {
    return `${message}; of the ${ns(sum)} that class ${trafficClass} has in each cycle of ${ns(cycleNs)}, ${ns(promisedNs)} are promised to other streams, and ${ns(promisedNs)} + ${ns(needed)} = ${ns(promisedNs + needed)}`;
  }
  return null;
}

/** The largest message that takes at most so many ns. */
function largestMessage({ schedule, mtu }: GatePort, most: number): number {
  let low = 0;
  let high = 65_459;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (messageFrames(middle, mtu, schedule.lineRateMbps).ns <= most) low = middle;
    else high = middle - 1;
  }
  return low;
}

const number = (value: number): string => value.toLocaleString("en-US");
const ns = (value: number): string => (value === Number.POSITIVE_INFINITY ? "the whole cycle" : `${number(value)} ns`);
const terms = (values: ReadonlyArray<number>): string =>
  values.length <= 8
    ? values.map(number).join(" + ")
    : `${values.slice(0, 7).map(number).join(" + ")} + … + ${number(values.at(-1) ?? 0)}`;
