// Restart policies in the sense of OTP: who is restarted after which exit, how long to wait, and when to give up and
// escalate. Pure arithmetic on times in milliseconds of any one monotonic clock; it neither reads a clock nor waits.

/** Permanent children always come back, transient ones after a failure, temporary ones never. */
export type RestartKind = "permanent" | "transient" | "temporary";

/**
 * How a child ended. `ordered`: its supervisor asked for it. `normal`: it had finished. `failure`: it broke or died.
 * `quarantined`: part of it could not be torn down, so that what it held (a port, a queue) is still held.
 */
export type Exit = "ordered" | "normal" | "failure" | "quarantined";

export interface Backoff {
  /** Wait before the first restart, ms. */
  readonly initialMs: number;
  /** Each further restart within the window waits this many times longer; at least 1. */
  readonly factor: number;
  /** Longest wait, ms. */
  readonly maxMs: number;
}

/** At most `max` restarts begin in any `withinMs` milliseconds; one more escalates. */
export interface Intensity {
  readonly max: number;
  readonly withinMs: number;
}

export interface RestartPolicy {
  readonly kind: RestartKind;
  readonly backoff: Backoff;
  readonly intensity: Intensity;
}

/** The times at which restarts begin or began, ascending; only those that still count are kept. */
export type RestartHistory = readonly number[];

export type Verdict =
  /** Start again at `atMs`, which is `delayMs` from now; keep `history` for the next time. */
  | {
      readonly type: "restart";
      readonly atMs: number;
      readonly delayMs: number;
      readonly attempt: number;
      readonly history: RestartHistory;
    }
  /** Leave it stopped; that is in order. */
  | { readonly type: "stop"; readonly why: string }
  /** It cannot be brought back here: the supervisor above decides. */
  | { readonly type: "escalate"; readonly why: string };

export const DEFAULT_POLICY: RestartPolicy = {
  kind: "transient",
  backoff: { initialMs: 50, factor: 2, maxMs: 2000 },
  intensity: { max: 5, withinMs: 30_000 },
};

/** The wait before restart number `attempt` (from 0) of a row, whole ms: never falls, never exceeds `maxMs`. */
export const backoffMs = (backoff: Backoff, attempt: number): number =>
  Math.floor(Math.min(backoff.maxMs, backoff.initialMs * backoff.factor ** Math.max(0, attempt)));

/** Restarts of `history` in the window of `withinMs` that ends at `atMs` (its beginning excluded). */
export const countWithin = (history: RestartHistory, withinMs: number, atMs: number): number =>
  history.filter((time) => time > atMs - withinMs).length;

/** May an exit of this sort be followed by a restart at all? */
export const restarts = (kind: RestartKind, exit: Exit): boolean => {
  if (exit === "ordered" || exit === "quarantined" || kind === "temporary") return false;
  return kind === "permanent" || exit === "failure";
};

/**
 * What to do about a child that exited at `nowMs`. The limit is checked at the time at which the restart would begin,
 * because that is when it counts. A child that stayed up for the whole window begins anew with the shortest wait.
 */
export const decide = (policy: RestartPolicy, history: RestartHistory, exit: Exit, nowMs: number): Verdict => {
  if (exit === "quarantined" && policy.kind !== "temporary") {
    return { type: "escalate", why: "part of it is quarantined, so what it held is still taken" };
  }
  if (!restarts(policy.kind, exit)) return { type: "stop", why: `${policy.kind} child, ${exit} exit` };
  const { max, withinMs } = policy.intensity;
  const attempt = countWithin(history, withinMs, nowMs);
  const delayMs = backoffMs(policy.backoff, attempt);
  const atMs = nowMs + delayMs;
  if (countWithin(history, withinMs, atMs) >= max) {
    return { type: "escalate", why: `${max} restarts within ${withinMs} ms` };
  }
  const recent = history.filter((time) => time > nowMs - withinMs);
  return { type: "restart", atMs, delayMs, attempt, history: [...recent, atMs] };
};

/**
 * Does a child that fails the moment it starts ever escalate? Long waits can stretch a row of failures beyond the
 * window, and then it would be restarted for ever: a policy that says false here is a mistake.
 */
export const escalates = (policy: RestartPolicy): boolean => {
  let history: RestartHistory = [];
  let now = 0;
  for (let tries = 0; tries <= 4 * policy.intensity.max + 1; tries++) {
    const verdict = decide(policy, history, "failure", now);
    if (verdict.type !== "restart") return verdict.type === "escalate";
    history = verdict.history;
    now = verdict.atMs;
  }
  return false;
};
