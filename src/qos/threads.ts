// Which thread serves which engine, as pure functions: where each begins, and when experience says otherwise. The advisor acts on
// what lasts, leaves a wide gap between the load that splits and the load that joins, and rests after each move: it never
// undoes what it did while the load is what it was.
import { LANES, type Lane, receivesOnly, technologyOf } from "../protocol/lanes.ts";
import type { NetworkTechnology } from "../protocol/qos.ts";

/** In which engines are looked at: of those that share a thread the first is its host, by whose strategy it idles. */
export const THREAD_ORDER: ReadonlyArray<Lane> = LANES;

/** So many threads can spin, and there is still a core for applications. */
export const roomToSpin = (cores: number, spinners: number): boolean => cores > spinners;

export interface ThreadRules {
  /** Engine threads of the runtime's process at most; null: one for each engine. */
  readonly most: number | null;
  /** Technologies of one number share a thread; those not named have one of their own, as far as `most` allows. */
  readonly map: Readonly<Partial<Record<NetworkTechnology, number>>> | null;
}

/** Whose thread serves an engine; its own where they are equal. */
export type Placement = ReadonlyMap<Lane, Lane>;

const inOrder = (engines: Iterable<Lane>): Lane[] => {
  const there = new Set(engines);
  return THREAD_ORDER.filter((lane) => there.has(lane));
};

/** Where engines that run in this process and can share a thread begin. Those without a thread of their own go to the first one's. */
export function place(engines: Iterable<Lane>, { most, map }: ThreadRules): Placement {
  const placement = new Map<Lane, Lane>();
  const hosts = new Map<number, Lane>();
  let threads = 0;
  for (const lane of inOrder(engines)) {
    const number = receivesOnly(lane) ? undefined : map?.[technologyOf(lane)];
    const known = number === undefined ? undefined : hosts.get(number);
    const first = placement.keys().next().value;
    const host = known ?? (most !== null && threads >= most ? first : undefined) ?? lane;
    if (host === lane) threads++;
    if (number !== undefined && known === undefined) hosts.set(number, placement.get(host) ?? host);
    placement.set(lane, placement.get(host) ?? host);
  }
  return placement;
}

/** Of an engine over the last sample: the part of the time, 0 to 1, that a thread worked for it. */
export interface EngineLoad {
  readonly lane: Lane;
  readonly load: number;
  /** Its thread costs nothing while it is idle. */
  readonly parks: boolean;
}

export type Advice =
  /** `to` equal to `engine`: a thread of its own. */
  | { readonly kind: "move"; readonly engine: Lane; readonly to: Lane; readonly why: string }
  | { readonly kind: "overloaded"; readonly thread: Lane; readonly why: string };

/** What the advisor remembers from one sample to the next. */
export interface AdvisorState {
  /** By thread: samples in a row in which it had too much to do. */
  readonly over: ReadonlyMap<Lane, number>;
  /** By pair of threads `a b`: samples in a row in which one of them would have done. */
  readonly idle: ReadonlyMap<string, number>;
  /** Samples that it still rests. */
  readonly rest: number;
  /** Threads that were said to be overloaded, and have not recovered since. */
  readonly said: ReadonlySet<Lane>;
}
export const ADVISOR_START: AdvisorState = { over: new Map(), idle: new Map(), rest: 0, said: new Set() };

/** Samples are a second apart. */
export const ADVISOR = {
  /** Of a thread's time: it has too much to do, or what it gets from another one may bring it so far. */
  HIGH: 0.85,
  FULL: 0.6,
  /** Of both threads together: one would do. */
  LOW: 0.3,
  /** Below it an overload that was told is over. */
  WELL: 0.7,
  OVER_SAMPLES: 5,
  IDLE_SAMPLES: 30,
  REST_SAMPLES: 30,
} as const;

export interface AdvisorInput {
  readonly placement: Placement;
  readonly loads: ReadonlyArray<EngineLoad>;
  readonly most: number | null;
  /** Cores that threads can run on at the same time. */
  readonly cores: number;
  /** The configuration says who is served where: nothing is moved. */
  readonly fixed: boolean;
}

interface Thread {
  readonly host: Lane;
  readonly engines: ReadonlyArray<EngineLoad>;
  readonly load: number;
}

function threadsOf({ placement, loads }: AdvisorInput): Thread[] {
  const hosts = inOrder(new Set(loads.map(({ lane }) => placement.get(lane) ?? lane)));
  return hosts.map((host) => {
    const engines = loads.filter(({ lane }) => (placement.get(lane) ?? lane) === host);
    return { host, engines, load: engines.reduce((sum, { load }) => sum + load, 0) };
  });
}

const percent = (load: number): string => `${Math.round(100 * load)} %`;
const pairOf = (a: Thread, b: Thread): string => `${a.host} ${b.host}`;

/** One sample: what is to be done, if anything, and what to remember. At most one move at a time. */
export function advise(state: AdvisorState, input: AdvisorInput): { state: AdvisorState; advice: Advice[] } {
  const threads = threadsOf(input);
  const over = new Map<Lane, number>();
  for (const { host, load } of threads) if (load >= ADVISOR.HIGH) over.set(host, (state.over.get(host) ?? 0) + 1);
  const idle = new Map<string, number>();
  threads.forEach((a, i) => {
    for (const b of threads.slice(i + 1))
      if (a.load + b.load <= ADVISOR.LOW) idle.set(pairOf(a, b), (state.idle.get(pairOf(a, b)) ?? 0) + 1);
  });
  const said = new Set([...state.said].filter((host) => threads.some((t) => t.host === host && t.load > ADVISOR.WELL)));
  const advice: Advice[] = [];
  const next = (rest: number): { state: AdvisorState; advice: Advice[] } => ({
    state: { over: rest > state.rest ? new Map() : over, idle: rest > state.rest ? new Map() : idle, rest, said },
    advice,
  });
  const resting = Math.max(0, state.rest - 1);
  const move = input.fixed || state.rest > 0 ? null : (split(input, threads, over) ?? join(threads, idle));
  if (move) {
    advice.push(move);
    return next(ADVISOR.REST_SAMPLES);
  }
  for (const thread of threads) {
    if ((over.get(thread.host) ?? 0) < ADVISOR.OVER_SAMPLES || said.has(thread.host)) continue;
    // What a move may still cure is not told yet.
    if (!input.fixed && state.rest > 0 && thread.engines.length > 1) continue;
    said.add(thread.host);
    advice.push({ kind: "overloaded", thread: thread.host, why: overloadOf(thread) });
  }
  return next(resting);
}

const overloadOf = ({ engines, load }: Thread): string =>
  `it has worked ${percent(load)} of its time for ${engines.map(({ lane }) => lane).join(" and ")} for ${ADVISOR.OVER_SAMPLES} s`;

/** A thread with too much to do gives away a guest: to one of its own if there may be one more, else to one that has room. */
function split(input: AdvisorInput, threads: Thread[], over: ReadonlyMap<Lane, number>): Advice | null {
  const room = threads.length < (input.most ?? Number.POSITIVE_INFINITY) && threads.length < input.cores;
  for (const thread of threads) {
    if ((over.get(thread.host) ?? 0) < ADVISOR.OVER_SAMPLES) continue;
    const guests = thread.engines.filter(({ lane }) => lane !== thread.host).sort((a, b) => b.load - a.load);
    for (const { lane, load } of guests) {
      const why = overloadOf(thread);
      // One that does hardly anything is no relief.
      if (load < 0.05) continue;
      if (room) return { kind: "move", engine: lane, to: lane, why };
      const other = threads.find((one) => one !== thread && one.load + load <= ADVISOR.FULL);
      if (other) return { kind: "move", engine: lane, to: other.host, why };
    }
  }
  return null;
}

/** Of two threads that have little to do, and cost something by being there, one is enough. */
function join(threads: Thread[], idle: ReadonlyMap<string, number>): Advice | null {
  for (const [i, a] of threads.entries())
    for (const b of threads.slice(i + 1)) {
      if ((idle.get(pairOf(a, b)) ?? 0) < ADVISOR.IDLE_SAMPLES) continue;
      // A host stays as long as it has guests; a thread that sleeps costs nothing.
      const [guest] = b.engines;
      if (b.engines.length !== 1 || guest === undefined || guest.parks) continue;
      const why = `its thread and that of ${a.host} have worked ${percent(a.load + b.load)} of the time together for ${ADVISOR.IDLE_SAMPLES} s`;
      return { kind: "move", engine: b.host, to: a.host, why };
    }
  return null;
}
