// A machine as Mermaid text (stateDiagram-v2), which forges render. Mermaid knows no transition between the insides of
// two composite states, so each is drawn between the states around them that are siblings, and says what it means.
import type { MachineDescription, StateDescription, TransitionDescription } from "./describe.ts";

const identifier = (path: string): string => path.replaceAll(".", "_");

const ancestry = (path: string): string[] => path.split(".").map((_, index, all) => all.slice(0, index + 1).join("."));

/** The outermost states around `from` and `to` that differ: what is drawn is a transition between these. */
const siblings = (from: string, to: string): readonly [string, string] => {
  const [ups, downs] = [ancestry(from), ancestry(to)];
  let depth = 0;
  while (depth < ups.length - 1 && depth < downs.length - 1 && ups[depth] === downs[depth]) depth++;
  return [ups[depth] ?? from, downs[depth] ?? to];
};

/** What is inside `outer` on the way to `path`. */
const inside = (outer: string, path: string): string => path.slice(outer.length + 1);

/** The event and its guard, as they stand at an arrow. */
export const labelOf = (transition: TransitionDescription): string =>
  [transition.event, transition.guard === null ? "" : `[${transition.guard}]`].filter((part) => part !== "").join(" ");

/** Arrows of the level inside `parent`, each with all that leads along it. */
const arrows = (machine: MachineDescription, parent: string): Map<string, string[]> => {
  const drawn = new Map<string, string[]>();
  for (const transition of machine.transitions) {
    if (transition.to === null || transition.from === "") continue;
    const [from, to] = siblings(transition.from, transition.to);
    if (from.split(".").slice(0, -1).join(".") !== parent || !to.startsWith(parent)) continue;
    // From a composite state to something inside it: Mermaid would draw that as a loop around the whole.
    if (from === to && transition.to.startsWith(`${transition.from}.`)) continue;
    const source = inside(from, transition.from);
    const target = from === to ? "" : inside(to, transition.to);
    const label = `${source === "" ? "" : `(${source}) `}${labelOf(transition)}${target === "" ? "" : ` to ${target}`}`;
    const key = `${identifier(from)} --> ${identifier(to)}`;
    drawn.set(key, [...new Set([...(drawn.get(key) ?? []), label])]);
  }
  return drawn;
};

const level = (machine: MachineDescription, parent: string, indent: string): string[] => {
  const states = machine.states.filter((state) => state.parent === parent);
  const lines: string[] = [];
  for (const state of states) {
    lines.push(`${indent}state "${state.key}" as ${identifier(state.path)}`);
  }
  for (const state of states) {
    if (state.kind !== "compound" && state.kind !== "parallel") continue;
    lines.push(`${indent}state ${identifier(state.path)} {`);
    const regions = machine.states.filter((child) => child.parent === state.path);
    if (state.kind === "parallel") {
      for (const [index, region] of regions.entries()) {
        if (index > 0) lines.push(`${indent}  --`);
        lines.push(`${indent}  state "${region.key}" as ${identifier(region.path)} {`);
        lines.push(...level(machine, region.path, `${indent}    `), `${indent}  }`);
      }
    } else lines.push(...level(machine, state.path, `${indent}  `));
    lines.push(`${indent}}`);
  }
  const initial = states.find((state) => state.initial);
  if (initial !== undefined) lines.push(`${indent}[*] --> ${identifier(initial.path)}`);
  for (const [arrow, labels] of arrows(machine, parent)) lines.push(`${indent}${arrow} : ${labels.join("<br/>")}`);
  for (const state of states) {
    if (state.final) lines.push(`${indent}${identifier(state.path)} --> [*]`);
  }
  return lines;
};

const classes: Readonly<Record<StateDescription["mood"], string>> = {
  idle: "",
  opening: "fill:#dbeafe,stroke:#2563eb,color:#172554",
  serving: "fill:#d1fae5,stroke:#059669,color:#022c22",
  trouble: "fill:#fef3c7,stroke:#d97706,color:#451a03",
  closing: "fill:#f1f5f9,stroke:#64748b,color:#0f172a",
  closed: "fill:#e2e8f0,stroke:#475569,color:#0f172a",
  quarantined: "fill:#fee2e2,stroke:#dc2626,color:#450a0a",
};

/** The text of one diagram, without the fence. */
export const mermaid = (machine: MachineDescription): string => {
  const anywhere = machine.transitions.filter((transition) => transition.from === "" && transition.to !== null);
  const lines = ["stateDiagram-v2", ...level(machine, "", "  ")];
  const leading = Map.groupBy(anywhere, (transition) => transition.to?.split(".")[0] ?? "");
  if (leading.size > 0) lines.push('  state "any living state" as anywhere');
  for (const [target, transitions] of leading) {
    const labels = transitions.map((each) => {
      const within = inside(target, each.to ?? "");
      return `${labelOf(each)}${within === "" ? "" : ` to ${within}`}`;
    });
    lines.push(`  anywhere --> ${identifier(target)} : ${labels.join("<br/>")}`);
  }
  for (const [mood, style] of Object.entries(classes)) {
    const members = machine.states.filter(
      (state) => state.mood === mood && (state.kind === "atomic" || state.kind === "final"),
    );
    if (style === "" || members.length === 0) continue;
    lines.push(`  classDef ${mood} ${style}`, `  class ${members.map((s) => identifier(s.path)).join(",")} ${mood}`);
  }
  return lines.join("\n");
};
