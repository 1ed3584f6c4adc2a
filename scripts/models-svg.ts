// Draws a described machine as SVG: elkjs lays it out, this gives it its looks. Every state is a <g data-id="ID"> with
// XState's id, so that a live view can highlight it. The same description gives the same bytes.
import ELKModule, { type ElkExtendedEdge, type ElkNode } from "elkjs/lib/elk.bundled.js";
import type { MachineDescription, StateDescription, TransitionDescription } from "../models/describe.ts";
import { labelOf } from "../models/mermaid.ts";

// The package's types describe a default export that its module, seen from Node, wraps once more.
const ELK = ELKModule as unknown as typeof ELKModule.default;

const FONT = "'Inter','Segoe UI','Helvetica Neue','DejaVu Sans',Arial,sans-serif";
/** A state's description is wrapped at this width, px. */
const WRAP = 178;
const MARGIN = 24;
const HEADER = 64;
const FOOTER = 40;

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c] ?? c);

const n = (value: number): string => String(Math.round(value * 10) / 10);

/** Width of a text in the widest font of the stack, px: enough that none overflows. */
const widthOf = (text: string, size: number): number => {
  let em = 0;
  for (const c of text) {
    if ("iljtfI.,:;'|!()[]/ ".includes(c)) em += 0.37;
    else if ("mwMW@".includes(c)) em += 0.95;
    else if (c >= "A" && c <= "Z") em += 0.7;
    else em += 0.61;
  }
  return em * size;
};

const wrap = (text: string, size: number, width: number): string[] => {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && widthOf(`${last} ${word}`, size) <= width) lines[lines.length - 1] = `${last} ${word}`;
    else if (word !== "") lines.push(word);
  }
  return lines;
};

interface Box {
  readonly state: StateDescription | null;
  readonly lines: readonly { readonly text: string; readonly style: "what" | "entry" | "stay" }[];
}

const isOuter = (state: StateDescription): boolean => state.kind === "compound" || state.kind === "parallel";

/** What a box says below its title. */
const linesOf = (machine: MachineDescription, state: StateDescription): Box["lines"] => {
  const entry = state.entry.filter((name) => name !== "armDeadline");
  const stays = machine.transitions.filter((each) => each.from === state.path && each.to === null && !each.ignored);
  const staying = [...new Set(stays.map((each) => each.event))];
  return [
    ...wrap(state.description, 10.5, isOuter(state) ? 400 : WRAP).map((text) => ({ text, style: "what" as const })),
    ...(entry.length > 0 ? wrap(`entry / ${entry.join(", ")}`, 10, WRAP) : []).map((text) => ({
      text,
      style: "entry" as const,
    })),
    ...(staying.length > 0 && !isOuter(state) ? wrap(`stays on ${staying.join(", ")}`, 10, WRAP) : []).map((text) => ({
      text,
      style: "stay" as const,
    })),
  ];
};

const heightOf = (lines: Box["lines"]): number => 30 + lines.length * 14 + (lines.length > 0 ? 6 : 2);

const ANYWHERE = "anywhere";
const startOf = (path: string): string => `${path}#start`;

const waits = (state: StateDescription): boolean => state.entry.includes("armDeadline");

const nodeOf = (machine: MachineDescription, state: StateDescription): ElkNode => {
  const lines = linesOf(machine, state);
  const children = machine.states.filter((child) => child.parent === state.path);
  const title = widthOf(state.key, 13) + (waits(state) ? 46 : 28);
  const width = Math.max(76, title, ...lines.map((line) => widthOf(line.text, line.style === "what" ? 10.5 : 10) + 26));
  if (children.length === 0) return { id: state.path, width, height: heightOf(lines) };
  return {
    id: state.path,
    children: [
      ...(children.some((child) => child.initial) ? [{ id: startOf(state.path), width: 9, height: 9 }] : []),
      ...children.map((child) => nodeOf(machine, child)),
    ],
    layoutOptions: {
      "elk.padding": `[top=${heightOf(lines) + 6},left=16,bottom=16,right=16]`,
      "elk.nodeSize.constraints": "MINIMUM_SIZE",
      "elk.nodeSize.minimum": `(${n(width)},${n(heightOf(lines) + 20)})`,
    },
  };
};

/** An event is named without its guards where all its branches lead along the same arrow. */
const collapsed = (labels: readonly string[]): string[] => {
  const whole = labels.filter((label) => label.endsWith(" [else]")).map((label) => label.slice(0, -" [else]".length));
  const covered = whole.filter((event) => labels.filter((label) => label.startsWith(`${event} [`)).length > 1);
  return [...new Set(labels.map((label) => covered.find((event) => label.startsWith(`${event} [`)) ?? label))];
};

/**
 * Arrows between the same two states are one arrow with several lines of text. One that leads back to a state declared
 * earlier is laid out the other way round (`back`), so that a picture reads in the order of the declaration.
 */
const edgesOf = (machine: MachineDescription): ElkExtendedEdge[] => {
  const grouped = new Map<string, { from: string; to: string; labels: string[] }>();
  for (const transition of machine.transitions) {
    if (transition.to === null) continue;
    const from = transition.from === "" ? ANYWHERE : transition.from;
    const key = `${from}>${transition.to}`;
    const group = grouped.get(key) ?? { from, to: transition.to, labels: [] };
    const label = labelOf(transition);
    if (!group.labels.includes(label)) group.labels.push(label);
    grouped.set(key, group);
  }
  const starts = machine.states
    .filter((state) => state.initial)
    .map((state) => ({ from: startOf(state.parent), to: state.path, labels: [] as string[] }));
  const order = new Map(machine.states.map((state, index) => [state.path, index]));
  return [...starts, ...grouped.values()].map(({ from, to, labels: all }, index) => {
    const labels = collapsed(all);
    const back = (order.get(from) ?? -1) > (order.get(to) ?? -1);
    return {
      id: `${back ? "back" : "edge"}${index}`,
      sources: [back ? to : from],
      targets: [back ? from : to],
      labels:
        labels.length === 0
          ? []
          : [
              {
                id: `label${index}`,
                text: labels.join("\n"),
                width: Math.max(...labels.map((text) => widthOf(text, 10.5))) + 10,
                height: labels.length * 13 + 4,
              },
            ],
    };
  });
};

const layOut = (machine: MachineDescription): Promise<ElkNode> => {
  const top = machine.states.filter((state) => state.parent === "");
  const anywhere = machine.transitions.some((each: TransitionDescription) => each.from === "" && each.to !== null);
  return new ELK().layout({
    id: "root",
    children: [
      { id: startOf(""), width: 12, height: 12 },
      ...top.map((state) => nodeOf(machine, state)),
      ...(anywhere ? [{ id: ANYWHERE, width: 112, height: 28 }] : []),
    ],
    edges: edgesOf(machine),
    layoutOptions: {
      "elk.algorithm": "layered",
      "elk.direction": "DOWN",
      "elk.hierarchyHandling": "INCLUDE_CHILDREN",
      "elk.edgeRouting": "ORTHOGONAL",
      "elk.json.edgeCoords": "ROOT",
      "elk.spacing.nodeNode": "30",
      "elk.spacing.edgeNode": "18",
      "elk.spacing.edgeEdge": "12",
      "elk.spacing.edgeLabel": "4",
      "elk.layered.spacing.nodeNodeBetweenLayers": "34",
      "elk.layered.spacing.edgeNodeBetweenLayers": "16",
      "elk.layered.nodePlacement.strategy": "NETWORK_SIMPLEX",
      "elk.layered.considerModelOrder.strategy": "NODES_AND_EDGES",
      "elk.layered.edgeLabels.sideSelection": "ALWAYS_DOWN",
      "elk.layered.crossingMinimization.greedySwitch.type": "TWO_SIDED",
      "elk.layered.thoroughness": "20",
    },
  });
};

const clock = (x: number, y: number): string =>
  `<g class="clock"><circle cx="${n(x)}" cy="${n(y)}" r="5.5"/><path d="M${n(x)} ${n(y - 3.2)}V${n(y)}H${n(x + 2.6)}"/></g>`;

/** What lies below the arrows, and what above them. */
interface Layers {
  readonly below: readonly string[];
  readonly above: readonly string[];
}

const drawState = (
  machine: MachineDescription,
  state: StateDescription,
  node: ElkNode,
  x: number,
  y: number,
): Layers => {
  const [width, height] = [node.width ?? 0, node.height ?? 0];
  const region = machine.states.some((outer) => outer.path === state.parent && outer.kind === "parallel");
  const kind = isOuter(state) ? (region ? "outer region" : "outer") : "inner";
  const at = `x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}"`;
  const parts = [`<rect class="frame" ${at} rx="9"/>`];
  if (state.final) {
    parts.push(
      `<rect class="ring" x="${n(x + 3)}" y="${n(y + 3)}" width="${n(width - 6)}" height="${n(height - 6)}" rx="6.5"/>`,
    );
  }
  const texts = [`<text class="key" x="${n(x + 13)}" y="${n(y + 21)}">${escaped(state.key)}</text>`];
  if (waits(state)) texts.push(clock(x + width - 14, y + 15));
  linesOf(machine, state).forEach((line, index) => {
    texts.push(
      `<text class="${line.style}" x="${n(x + 13)}" y="${n(y + 38 + index * 14)}">${escaped(line.text)}</text>`,
    );
  });
  const group = (content: readonly string[]): string =>
    `<g class="state ${kind} ${state.mood}" data-id="${escaped(state.id)}">${content.join("")}</g>`;
  // Arrows run across the frames of outer states, but not across what is written on them.
  return isOuter(state)
    ? { below: [group(parts)], above: [`<g class="caption">${texts.join("")}</g>`] }
    : { below: [], above: [group([...parts, ...texts])] };
};

const drawNodes = (machine: MachineDescription, node: ElkNode, x0: number, y0: number): Layers => {
  const [x, y] = [x0 + (node.x ?? 0), y0 + (node.y ?? 0)];
  const inner = (node.children ?? []).map((child) => drawNodes(machine, child, x, y));
  const own = (): Layers => {
    if (node.id.endsWith("#start")) {
      const r = (node.width ?? 0) / 2;
      return { below: [], above: [`<circle class="start" cx="${n(x + r)}" cy="${n(y + r)}" r="${n(r)}"/>`] };
    }
    if (node.id === ANYWHERE) {
      const at = `x="${n(x)}" y="${n(y)}" width="${n(node.width ?? 0)}" height="${n(node.height ?? 0)}" rx="14"`;
      const text = `<text x="${n(x + 56)}" y="${n(y + 18)}" text-anchor="middle">any living state</text>`;
      return { below: [], above: [`<g class="anywhere"><rect ${at}/>${text}</g>`] };
    }
    const state = machine.states.find((each) => each.path === node.id);
    return state === undefined ? { below: [], above: [] } : drawState(machine, state, node, x, y);
  };
  const layers = [own(), ...inner];
  return { below: layers.flatMap((each) => each.below), above: layers.flatMap((each) => each.above) };
};

interface Point {
  readonly x: number;
  readonly y: number;
}

/** An orthogonal path with its corners rounded. */
const path = (points: readonly Point[]): string => {
  const parts = points.map((point, index) => {
    const [before, after] = [points[index - 1], points[index + 1]];
    if (before === undefined) return `M${n(point.x)} ${n(point.y)}`;
    if (after === undefined) return `L${n(point.x)} ${n(point.y)}`;
    const toward = (other: Point): Point => {
      const distance = Math.hypot(other.x - point.x, other.y - point.y);
      const part = distance === 0 ? 0 : Math.min(6, distance / 2) / distance;
      return { x: point.x + (other.x - point.x) * part, y: point.y + (other.y - point.y) * part };
    };
    const [start, stop] = [toward(before), toward(after)];
    return `L${n(start.x)} ${n(start.y)}Q${n(point.x)} ${n(point.y)} ${n(stop.x)} ${n(stop.y)}`;
  });
  return parts.join("");
};

const drawEdge = (machine: MachineDescription, edge: ElkExtendedEdge): { line: string; text: string } => {
  const id = (end: string | undefined): string => {
    if (end === undefined || end.endsWith("#start")) return "";
    return machine.states.find((state) => state.path === end)?.id ?? machine.id;
  };
  const back = edge.id.startsWith("back");
  const line = (edge.sections ?? [])
    .map((section) => [section.startPoint, ...(section.bendPoints ?? []), section.endPoint])
    .map((points) => path(back ? points.reverse() : points))
    .join("");
  const text = (edge.labels ?? []).flatMap((label) =>
    (label.text ?? "").split("\n").map((part, index) => {
      const [x, y] = [(label.x ?? 0) + (label.width ?? 0) / 2, (label.y ?? 0) + 11.5 + index * 13];
      return `<text class="event" x="${n(x)}" y="${n(y)}" text-anchor="middle">${escaped(part)}</text>`;
    }),
  );
  const [from, to] = back ? [edge.targets[0], edge.sources[0]] : [edge.sources[0], edge.targets[0]];
  const ends = `data-from="${escaped(id(from))}" data-to="${escaped(id(to))}"`;
  return {
    line: `<path class="edge" ${ends} d="${line}" marker-end="url(#arrow)"/>`,
    text: text.join(""),
  };
};

const LEGEND = [
  ["opening", "coming up"],
  ["serving", "serving"],
  ["trouble", "in trouble"],
  ["closing", "closing"],
  ["closed", "closed"],
  ["quarantined", "quarantined"],
] as const;

const STYLE = `
text{font-family:${FONT};fill:#0f172a}
.card{fill:#fff;stroke:#e2e8f0}
.title{font-size:19px;font-weight:700}
.subtitle{font-size:12px;fill:#475569}
.key{font-size:13px;font-weight:600}
.what{font-size:10.5px;fill:#475569}
.entry{font-size:10px;fill:#6d28d9}
.stay{font-size:10px;fill:#64748b}
.event{font-size:10.5px;fill:#334155;paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}
.caption text{paint-order:stroke;stroke:#f8fafc;stroke-width:4px;stroke-linejoin:round}
.edge{fill:none;stroke:#94a3b8;stroke-width:1.3}
.start{fill:#334155}
.clock{fill:none;stroke:#64748b;stroke-width:1.2}
.frame{fill:#fff;stroke:#94a3b8;stroke-width:1.4}
.ring{fill:none;stroke:#94a3b8;stroke-width:1}
.outer>.frame{fill:#f8fafc;stroke:#cbd5e1}
.region>.frame{fill:#fff;stroke-dasharray:5 4}
.inner.opening>.frame,.dot.opening{fill:#eff6ff;stroke:#3b82f6}
.inner.serving>.frame,.dot.serving{fill:#ecfdf5;stroke:#10b981}
.inner.trouble>.frame,.dot.trouble{fill:#fffbeb;stroke:#f59e0b}
.inner.closing>.frame,.dot.closing{fill:#f1f5f9;stroke:#64748b}
.inner.closed>.frame,.dot.closed{fill:#e2e8f0;stroke:#475569}
.inner.quarantined>.frame,.dot.quarantined{fill:#fef2f2;stroke:#ef4444}
.closed>.ring{stroke:#475569}
.quarantined>.ring{stroke:#ef4444}
.anywhere rect{fill:#fff;stroke:#64748b;stroke-width:1.2;stroke-dasharray:4 3}
.anywhere text{font-size:11px;font-style:italic;fill:#475569}
.legend{font-size:10.5px;fill:#64748b}
.dot{stroke-width:1.4}
.state.active>.frame{stroke-width:3}
`.trim();

const legend = (y: number): { svg: string; width: number } => {
  let x = MARGIN;
  const parts = LEGEND.map(([mood, text]) => {
    const part = `<rect class="dot ${mood}" x="${n(x)}" y="${n(y - 9)}" width="14" height="11" rx="3"/><text class="legend" x="${n(x + 20)}" y="${n(y)}">${text}</text>`;
    x += 34 + widthOf(text, 10.5);
    return part;
  });
  parts.push(clock(x + 6, y - 3.5), `<text class="legend" x="${n(x + 18)}" y="${n(y)}">waits, with a deadline</text>`);
  return { svg: parts.join(""), width: x + 18 + widthOf("waits, with a deadline", 10.5) };
};

/** The whole picture, with title and legend. */
export const draw = async (title: string, machine: MachineDescription): Promise<string> => {
  const graph = await layOut(machine);
  const key = legend(0);
  const width = Math.ceil(
    Math.max((graph.width ?? 0) + 2 * MARGIN, key.width + MARGIN, widthOf(machine.description, 12) + 2 * MARGIN),
  );
  const height = Math.ceil((graph.height ?? 0) + HEADER + FOOTER);
  const dx = (width - (graph.width ?? 0)) / 2;
  const nodes = drawNodes(machine, graph, 0, 0);
  const edges = (graph.edges ?? []).map((edge) => drawEdge(machine, edge));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" data-machine="${escaped(machine.id)}">`,
    `<title>${escaped(title)}: ${escaped(machine.description)}</title>`,
    `<style>${STYLE}</style>`,
    `<defs><marker id="arrow" viewBox="0 0 8 8" markerWidth="7" markerHeight="7" refX="7" refY="4" orient="auto"><path d="M0 .6L8 4L0 7.4z" fill="#64748b"/></marker></defs>`,
    `<rect class="card" x=".5" y=".5" width="${width - 1}" height="${height - 1}" rx="14"/>`,
    `<text class="title" x="${MARGIN}" y="34">${escaped(title)}</text>`,
    `<text class="subtitle" x="${MARGIN}" y="53">${escaped(machine.description)}</text>`,
    `<g transform="translate(${n(dx)} ${HEADER})">`,
    ...nodes.below,
    ...edges.map((edge) => edge.line),
    ...nodes.above,
    ...edges.map((edge) => edge.text),
    "</g>",
    legend(height - 16).svg,
    "</svg>",
    "",
  ].join("\n");
};
