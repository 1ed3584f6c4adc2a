// Mapping strategies as ordered rules, and the default one: the paper's (section 5.2). Pure data and one pure evaluator;
// nothing here knows a host. A strategy may also be code; decide.ts takes both.
import type { CapabilityRecord } from "../protocol/control.ts";
import type { NetworkTechnology, Qos } from "../protocol/qos.ts";

/** The technologies a strategy chooses from. Shared memory is not among them: co-located endpoints always use it. */
export const NETWORK_TECHNOLOGIES: ReadonlyArray<NetworkTechnology> = ["udp", "xdp", "dpdk", "rdma"];

/** What a rule asks of a stream; a quality that is left out matches everything. */
export type RuleCondition = { readonly [K in "acceleration" | "consumption" | "timeSensitivity"]?: Qos[K] };

/** One rule. The first whose condition holds decides, alone. */
export interface StrategyRule {
  /** Stable name that `explain` shows; default `rule N`, counted from 1. */
  readonly name?: string;
  readonly when?: RuleCondition;
  /** In order of preference: the first that is available is taken. Empty: shared memory only. */
  readonly use: ReadonlyArray<NetworkTechnology>;
  /** May software stand-ins be taken as well? Default false. */
  readonly emulated?: boolean;
  /** Why a technology is not in `use`, for `explain`. */
  readonly because?: { readonly [K in NetworkTechnology]?: string };
}

export interface RuleStrategy {
  readonly name: string;
  readonly rules: ReadonlyArray<StrategyRule>;
}

/** A strategy as code: pure, from quality and capabilities to a technology (null: shared memory only) and its reason. */
export type Strategy = (
  qos: Qos,
  capabilities: ReadonlyArray<CapabilityRecord>,
) => { readonly technology: NetworkTechnology | null; readonly rule: string; readonly why: string };

const NOT_ASKED = "the stream asks for no acceleration, and then kernel UDP is always used";

/**
 * The paper's strategy: without acceleration kernel UDP; else RDMA; else DPDK if resources are no concern, else XDP;
 * else kernel UDP, with a warning (decide.ts).
 */
export const DEFAULT_STRATEGY: RuleStrategy = {
  name: "default",
  rules: [
    {
      name: "acceleration-none",
      when: { acceleration: "none" },
      use: ["udp"],
      because: { xdp: NOT_ASKED, dpdk: NOT_ASKED, rdma: NOT_ASKED },
    },
    { name: "resources-no-concern", when: { consumption: "high" }, use: ["rdma", "dpdk", "xdp", "udp"] },
    {
      name: "resources-concern",
      when: { consumption: "low" },
      use: ["rdma", "xdp", "udp"],
      because: {
        dpdk: 'it keeps whole cores spinning, and the stream asks for consumption "low"; "high" would allow it',
      },
    },
  ],
};

/** What an operator has chosen for one stream. Where that is not available, the stream is decided on as any other. */
export function forcedStrategy(technology: NetworkTechnology): RuleStrategy {
  const others = NETWORK_TECHNOLOGIES.filter((other) => other !== technology);
  const because = Object.fromEntries(others.map((other) => [other, `an operator has chosen ${technology} for it`]));
  return { name: "operator", rules: [{ name: "forced", use: [technology], emulated: true, because }] };
}

/** What the rules say, before anybody looks at what they rejected. */
export interface RuleOutcome {
  readonly technology: NetworkTechnology | null;
  /** The rule that decided, or null when none matched. */
  readonly rule: Required<Pick<StrategyRule, "name" | "use">> & StrategyRule;
}

const matches = (condition: RuleCondition, qos: Qos): boolean =>
  (condition.acceleration === undefined || condition.acceleration === qos.acceleration) &&
  (condition.consumption === undefined || condition.consumption === qos.consumption) &&
  (condition.timeSensitivity === undefined || condition.timeSensitivity === qos.timeSensitivity);

/** Can this be taken without anybody asking for a stand-in? */
export const eligible = (capability: CapabilityRecord | undefined, emulated: boolean): boolean =>
  capability?.available === true && (emulated || !capability.emulated);

/** Applies the first rule that matches; null when none does. */
export function applyRules(
  strategy: RuleStrategy,
  qos: Qos,
  capabilities: ReadonlyArray<CapabilityRecord>,
): RuleOutcome | null {
  const at = strategy.rules.findIndex((rule) => matches(rule.when ?? {}, qos));
  const found = strategy.rules[at];
  if (found === undefined) return null;
  const rule = { ...found, name: found.name || `rule ${at + 1}` };
  const technology = rule.use.find((name) =>
    eligible(
      capabilities.find((capability) => capability.technology === name),
      rule.emulated ?? false,
    ),
  );
  return { technology: technology ?? null, rule };
}
