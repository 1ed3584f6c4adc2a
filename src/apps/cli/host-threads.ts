// What threads of a runtime could do on this host: on which cores, how many of them spinning, with real-time priority or not.
// Said before anything is configured, from what the kernel tells of this process.
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { roomToSpin } from "../../qos/threads.ts";

/** As the kernel tells it of this process. */
export interface ThreadFacts {
  /** Cores that its threads can use at the same time. */
  readonly cores: number;
  /** Which ones, such as "0-3,6"; empty: not known. */
  readonly allowed: string;
  /** Highest real-time priority by its limit (`ulimit -r`), 0: none. */
  readonly priority: number;
  /** CAP_SYS_NICE: limits do not bind it. */
  readonly privileged: boolean;
  /** Part of each second, in µs, that real-time threads may use; -1: all of it. */
  readonly realtimeMicros: number;
}

const CAP_SYS_NICE = 23n;
const SECOND_US = 1_000_000;

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};

export function threadFacts(): ThreadFacts {
  const status = read("/proc/self/status");
  const field = (name: string): string => new RegExp(`^${name}:\\s+(\\S+)$`, "m").exec(status)?.[1] ?? "";
  const limit = /^Max realtime priority\s+(\S+)/m.exec(read("/proc/self/limits"))?.[1] ?? "0";
  return {
    cores: availableParallelism(),
    allowed: field("Cpus_allowed_list"),
    priority: limit === "unlimited" ? 99 : Number(limit),
    privileged: ((BigInt(`0x${field("CapEff") || "0"}`) >> CAP_SYS_NICE) & 1n) === 1n,
    realtimeMicros: Number(read("/proc/sys/kernel/sched_rt_runtime_us").trim() || SECOND_US),
  };
}

/** What `engine.mode` and `engine.idle` would do. */
export function modesHere({ cores, allowed }: ThreadFacts): string {
  const which = `${cores === 1 ? "1 core" : `${cores} cores`} for this process${allowed === "" ? "" : ` (${allowed})`}`;
  const spinning = roomToSpin(cores, 2)
    ? "engines may spin, as many as there are cores besides those that the applications need"
    : roomToSpin(cores, 1)
      ? "the engine of kernel UDP alone gets a core to itself, those of other datapaths share theirs (they yield)"
      : "no engine gets a core to itself: all share it with the applications (they yield)";
  return [
    which,
    'engine.idle "park" (the default) sleeps until something comes and costs nothing meanwhile',
    `"spin" is faster; here ${spinning}`,
    'engine.mode "inline": the application\'s own thread polls, in a runtime that it embeds',
  ].join("; ");
}

/** Whether `engine.fifoPriority` can be had; `cure` when not, or when it is dangerous. */
export function realTimeHere({ priority, privileged, realtimeMicros, cores }: ThreadFacts): {
  readonly finding: string;
  readonly cure: string;
} {
  if (!privileged && priority === 0) {
    return {
      finding:
        "not permitted to this user: with engine.fifoPriority set, engines run like any other thread all the same",
      cure: "Only if you want engine.fifoPriority: give CAP_SYS_NICE, or LimitRTPRIO=50 in the service's unit (`ulimit -r`).",
    };
  }
  const up = privileged ? "any priority" : `priorities up to ${priority}`;
  if (realtimeMicros < 0 || realtimeMicros >= SECOND_US) {
    return {
      finding: `permitted (${up}), and the kernel keeps nothing of a core for others: a thread that spins has it for good`,
      cure:
        cores < 2
          ? "Leave engine.fifoPriority out: with one core nothing else would run."
          : "With engine.fifoPriority keep that core free of all else, or set kernel.sched_rt_runtime_us to 950000.",
    };
  }
  const share = Math.round((100 * realtimeMicros) / SECOND_US);
  return { finding: `permitted (${up}), for at most ${share} % of a core's time`, cure: "" };
}
