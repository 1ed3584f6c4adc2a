// Binds a stream to a datapath: the pure function (quality, capabilities, strategy) -> decision record. Every candidate
// is listed with the rule that took or rejected it, and nothing falls back without a warning. No I/O, no clock of its own.
import { WARNING_CODES, type Warning } from "../protocol/codes.ts";
import type { CandidateRecord, CapabilityRecord, DecisionRecord } from "../protocol/control.ts";
import type { NetworkTechnology, Qos } from "../protocol/qos.ts";
import {
  applyRules,
  DEFAULT_STRATEGY,
  eligible,
  NETWORK_TECHNOLOGIES,
  type RuleOutcome,
  type RuleStrategy,
  type Strategy,
} from "./strategy.ts";

export interface DecideInput {
  readonly qos: Qos;
  /** What the probes found; a technology that is missing counts as not available. */
  readonly capabilities: ReadonlyArray<CapabilityRecord>;
  /** Rules or code; default the paper's. */
  readonly strategy?: RuleStrategy | Strategy | null | undefined;
  /** How the serving thread waits, for the record. */
  readonly wait: string;
  readonly trustDomain: string;
  readonly now: Date;
  /** The host has a gate schedule. */
  readonly timeAware?: boolean;
}

/** What a strategy answered, checked; `reject` says why one that was not taken was not. */
interface Answer {
  readonly name: string;
  readonly technology: NetworkTechnology | null;
  readonly rule: string;
  readonly why: string;
  readonly reject: (technology: NetworkTechnology) => { readonly rule: string; readonly why: string } | null;
  readonly emulated: boolean;
}

export function decide(input: DecideInput): DecisionRecord {
  const { qos, capabilities } = input;
  const warnings: Warning[] = [];
  const answer = ask(input, warnings);
  const candidates = [sharedMemory(capabilities)];
  for (const technology of NETWORK_TECHNOLOGIES) {
    candidates.push(candidate(technology, find(capabilities, technology), answer));
  }
  warnings.push(...fallbacks(qos, answer, candidates));
  if (qos.timeSensitivity === "time-sensitive" && input.timeAware !== true) warnings.push(NOT_TIME_AWARE);
  return {
    datapath: answer.technology,
    local: "shm",
    strategy: answer.name,
    qos,
    candidates,
    warnings,
    wait: input.wait,
    trustDomain: input.trustDomain,
    decidedAt: input.now.toISOString(),
  };
}

/** Asks the strategy; one that answers nonsense is reported and the default decides. */
function ask(input: DecideInput, warnings: Warning[]): Answer {
  const { qos, capabilities, strategy } = input;
  if (strategy === undefined || strategy === null) return byRules(DEFAULT_STRATEGY, qos, capabilities);
  const name = nameOf(strategy);
  const answer = typeof strategy === "function" ? byCode(strategy, name, input) : tryRules(strategy, qos, capabilities);
  if (typeof answer !== "string") return answer;
  warnings.push({
    code: WARNING_CODES.STRATEGY,
    message: `The strategy "${name}" ${answer}; the default strategy decided instead.`,
    cure: "Correct the strategy: it must answer one of the technologies that the capabilities given to it call available, or null.",
  });
  return byRules(DEFAULT_STRATEGY, qos, capabilities);
}

const nameOf = (strategy: RuleStrategy | Strategy): string => (strategy.name === "" ? "custom" : strategy.name);

function tryRules(strategy: RuleStrategy, qos: Qos, capabilities: ReadonlyArray<CapabilityRecord>): Answer | string {
  const outcome = applyRules(strategy, qos, capabilities);
  if (outcome === null) return "has no rule for this quality";
  if (outcome.technology === null && outcome.rule.use.length > 0) {
    return `may only use ${outcome.rule.use.join(", ")} here (rule "${outcome.rule.name}"), and none of it is available`;
  }
  return fromRules(strategy, outcome);
}

/** For strategies whose every quality has a rule, such as the default. */
function byRules(strategy: RuleStrategy, qos: Qos, capabilities: ReadonlyArray<CapabilityRecord>): Answer {
  return fromRules(strategy, applyRules(strategy, qos, capabilities)!);
}

function fromRules(strategy: RuleStrategy, { technology, rule }: RuleOutcome): Answer {
  const place = technology === null ? -1 : rule.use.indexOf(technology);
  const before = rule.use.slice(0, Math.max(0, place));
  return {
    name: nameOf(strategy),
    technology,
    rule: rule.name,
    emulated: rule.emulated ?? false,
    why:
      before.length === 0
        ? `the first choice of rule "${rule.name}"`
        : `the best that is available of rule "${rule.name}" (${rule.use.join(", ")})`,
    reject: (other) => {
      if (!rule.use.includes(other)) {
        return { rule: rule.name, why: rule.because?.[other] ?? `rule "${rule.name}" does not use it` };
      }
      if (technology === null || rule.use.indexOf(other) < place) return null;
      return { rule: "preferred-other", why: `${technology} comes before it in rule "${rule.name}"` };
    },
  };
}

/** Runs code that we did not write: a string says what was wrong with its answer. */
function byCode(strategy: Strategy, name: string, { qos, capabilities }: DecideInput): Answer | string {
  let raw: unknown;
  try {
    raw = strategy(qos, capabilities);
  } catch (cause) {
    return `threw "${cause instanceof Error ? cause.message : String(cause)}"`;
  }
  if (typeof raw !== "object" || raw === null) return `answered ${shown(raw)} where an object was expected`;
  const { technology, rule, why } = raw as Record<string, unknown>;
  const chosen = technology as NetworkTechnology | null;
  if (chosen !== null) {
    if (!NETWORK_TECHNOLOGIES.includes(chosen)) {
      return `answered technology ${shown(technology)}, which is none of ${NETWORK_TECHNOLOGIES.join(", ")}`;
    }
    const capability = find(capabilities, chosen);
    if (!eligible(capability, true)) {
      return `chose ${chosen}, which is not available (${capability?.reason ?? "it was not probed"})`;
    }
  }
  return {
    name,
    technology: chosen,
    rule: typeof rule === "string" && rule !== "" ? rule : "custom",
    why: typeof why === "string" && why !== "" ? why : `chosen by the strategy "${name}"`,
    emulated: true,
    reject: () => ({ rule: "strategy", why: `the strategy "${name}" chose ${chosen ?? "no network"}` }),
  };
}

const shown = (value: unknown): string => {
  try {
    return JSON.stringify(value)?.slice(0, 80) ?? String(value);
  } catch {
    return `a ${typeof value}`;
  }
};

const find = (
  capabilities: ReadonlyArray<CapabilityRecord>,
  technology: CapabilityRecord["technology"],
): CapabilityRecord | undefined => capabilities.find((capability) => capability.technology === technology);

function sharedMemory(capabilities: ReadonlyArray<CapabilityRecord>): CandidateRecord {
  const capability = find(capabilities, "shm");
  const available = capability?.available ?? false;
  return {
    technology: "shm",
    verdict: "co-located",
    rule: "co-located",
    why: available
      ? "always serves the endpoints on this host, source to sink"
      : `serves the endpoints on this host, but its probe failed: ${capability?.reason ?? "it was not probed"}`,
    evidence: capability?.evidence ?? [],
    cure: available ? "" : (capability?.cure ?? ""),
  };
}

/** One line of the record. The rule speaks before the probe: what it excludes, no installation would bring. */
function candidate(
  technology: NetworkTechnology,
  capability: CapabilityRecord | undefined,
  answer: Answer,
): CandidateRecord {
  const evidence = capability?.evidence ?? [];
  if (technology === answer.technology) {
    const why = capability?.emulated === true ? `${answer.why}; ${capability.reason}` : answer.why;
    return { technology, verdict: "chosen", rule: answer.rule, why, evidence, cure: "" };
  }
  const rejected = { technology, verdict: "rejected", evidence } as const;
  const missing = capability?.reason ?? "it was not probed";
  const excluded = answer.reject(technology);
  const available = capability?.available ?? false;
  if (excluded !== null) {
    const also = available ? "" : `; besides, it is not available: ${missing}`;
    return {
      ...rejected,
      rule: excluded.rule,
      why: `${excluded.why}${also}`,
      cure: available ? "" : (capability?.cure ?? ""),
    };
  }
  if (!available) return { ...rejected, rule: "not-available", why: missing, cure: capability?.cure ?? "" };
  return {
    ...rejected,
    rule: "emulated",
    why: `a software stand-in, never chosen by itself: ${missing}`,
    cure: capability?.cure || 'For a test, choose it on purpose: a strategy rule with "emulated": true.',
  };
}

/** What the stream did not get, each with what can be done about it. */
function fallbacks(qos: Qos, answer: Answer, candidates: ReadonlyArray<CandidateRecord>): Warning[] {
  const warnings: Warning[] = [];
  const rejected = candidates.filter(({ verdict }) => verdict === "rejected");
  if (answer.technology === null) {
    const udp = rejected.find(({ technology }) => technology === "udp");
    warnings.push({
      code: WARNING_CODES.NO_NETWORK,
      message: `No datapath to other hosts: ${udp?.why ?? answer.why}. Only endpoints on this host can be reached.`,
      cure: udp?.cure || "Allow the network in the runtime's configuration (network.enabled) or correct its strategy.",
    });
  } else if (qos.acceleration === "fast" && answer.technology === "udp") {
    const others = rejected.filter(({ technology }) => technology !== "udp");
    warnings.push({
      code: WARNING_CODES.FALLBACK_UDP,
      message: `Acceleration was asked for, but the stream runs on kernel UDP: ${others
        .map(({ technology, why }) => `${technology} (${why})`)
        .join(", ")}.`,
      cure: cures(others) || `Change the strategy "${answer.name}", which chose UDP, or ask for no acceleration.`,
    });
  }
  return warnings;
}

const NOT_TIME_AWARE: Warning = {
  code: WARNING_CODES.NOT_TIME_AWARE,
  message: "Time sensitivity was asked for; this runtime has no gate schedule and sends first in, first out.",
  cure: "Give it one (network.schedule, see docs/scheduling.md), or expect no bound on jitter.",
};

/** What would make one of them available; who says the same is named together. What a rule excludes, no cure brings. */
function cures(candidates: ReadonlyArray<CandidateRecord>): string {
  const by = new Map<string, string[]>();
  for (const { technology, rule, cure } of candidates) {
    if (cure === "" || (rule !== "not-available" && rule !== "emulated")) continue;
    by.set(cure, [...(by.get(cure) ?? []), technology]);
  }
  return [...by].map(([cure, technologies]) => `${technologies.join(", ")}: ${cure.replace(/\.$/, "")}`).join("; ");
}
