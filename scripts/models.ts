// Draws every machine of models/ into docs/models/: NAME.svg, NAME.md (Mermaid and tables) and an index.
// `--check` writes nothing: it exits 1 and names the files that are not what the code says.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { machines, type TitledMachine } from "../models/all.ts";
import { describe, type MachineDescription, type TransitionDescription } from "../models/describe.ts";
import { mermaid } from "../models/mermaid.ts";
import { draw } from "./models-svg.ts";

const USAGE = `Usage: npm run models [-- [--check] [--into FOLDER]]
  Draws the state machines of models/ into docs/models/.
  --check        write nothing; exit 1 and name what differs
  --into FOLDER  use another folder, which then holds nothing else`;

const DOCS = fileURLToPath(new URL("../docs/models/", import.meta.url));

const GENERATED = "<!-- Made by `npm run models` from models/. Do not edit. -->";

const code = (names: readonly string[]): string => names.map((name) => `\`${name}\``).join(", ");

const cell = (text: string): string => text.replaceAll("|", "\\|");

const transitionRow = (transition: TransitionDescription): string => {
  const from = transition.from === "" ? "*any living state*" : `\`${transition.from}\``;
  const event = transition.event === "" ? "*at once*" : `\`${transition.event}\``;
  const guard = transition.guard === null ? "" : transition.guard === "else" ? ", else" : ` if ${transition.guard}`;
  const to = transition.ignored ? "*no effect*" : transition.to === null ? "*stays*" : `\`${transition.to}\``;
  return `| ${from} | ${event}${cell(guard)} | ${to} | ${code(transition.actions)} |`;
};

const page = ({ name, title }: TitledMachine, machine: MachineDescription): string => {
  const states = machine.states.map((state) => {
    const entry = code(state.entry.filter((action) => action !== "armDeadline"));
    const wait = state.entry.includes("armDeadline") ? "yes" : "";
    return `| \`${state.path}\` | ${cell(state.description)} | ${entry} | ${wait} |`;
  });
  return [
    GENERATED,
    `# ${title}`,
    "",
    machine.description,
    "",
    `![The states of the machine](${name}.svg)`,
    "",
    "## States",
    "",
    "| State | What it means | Actions on entry | Waits with a deadline |",
    "|---|---|---|---|",
    ...states,
    "",
    "## Transitions",
    "",
    "| In | On | To | Actions |",
    "|---|---|---|---|",
    ...machine.transitions.map(transitionRow),
    "",
    `**Events:** ${code(machine.events)}.`,
    "",
    `**Actions:** ${code(machine.actions)}.`,
    "",
    `What events carry and what actions must do is said at their declarations in [models/${name}.ts](../../models/${name}.ts).`,
    "",
    "## As Mermaid",
    "",
    "```mermaid",
    mermaid(machine),
    "```",
    "",
  ].join("\n");
};

const index = (all: readonly { readonly titled: TitledMachine; readonly machine: MachineDescription }[]): string =>
  [
    GENERATED,
    "# The lifecycles",
    "",
    "Everything that lives in a runtime has one of these state machines. They are pure: events in, states and actions",
    "out; the actors in `src/actors/` make them live, the tests drive them, and these pages are drawn from them.",
    "",
    "| Machine | What it is | States | Events | Actions |",
    "|---|---|---|---|---|",
    ...all.map(
      ({ titled, machine }) =>
        `| [${titled.title}](${titled.name}.md) | ${machine.description} | ${machine.states.length} | ${machine.events.length} | ${machine.actions.length} |`,
    ),
    "",
    "What all of them have in common (`models/lifecycle.ts`):",
    "",
    "- **Stopping is an event.** `close`, `failed` and `quarantine` lead to `closing` from every living state.",
    "- **The end is the exit of a scope.** `releaseScope` asks for it; `released` or `quarantine` answers, and only then is",
    "  a machine final: `closed` if everything came home, `quarantined` if something must stay mapped.",
    "- **Every wait has a deadline** (the clock in the diagrams), armed on entry and disarmed on exit; only waiting for",
    "  children has none, because each child has its own. A deadline missed on the way down does not free anything.",
    "- **No machine keeps time, opens or frees anything.** Its context holds no descriptor and no pointer.",
    "",
    ...all.flatMap(({ titled }) => [
      `## ${titled.title}`,
      "",
      `[![${titled.title}](${titled.name}.svg)](${titled.name}.md)`,
      "",
    ]),
  ].join("\n");

const render = async (): Promise<Map<string, string>> => {
  const files = new Map<string, string>();
  const all = machines.map((titled) => ({ titled, machine: describe(titled.machine) }));
  for (const { titled, machine } of all) {
    files.set(`${titled.name}.svg`, await draw(titled.title, machine));
    files.set(`${titled.name}.md`, page(titled, machine));
  }
  files.set("README.md", index(all));
  return files;
};

const read = (path: string): string | null => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
};

const main = async (args: readonly string[]): Promise<number> => {
  if (args.includes("--help")) {
    console.log(USAGE);
    return 0;
  }
  let options: { readonly check: boolean; readonly into: string };
  try {
    const flags = { check: { type: "boolean", default: false }, into: { type: "string", default: DOCS } } as const;
    options = parseArgs({ args: [...args], options: flags }).values;
  } catch (cause) {
    console.error(`${(cause as Error).message}\n${USAGE}`);
    return 2;
  }
  const folder = options.into;
  mkdirSync(folder, { recursive: true });
  const files = await render();
  const strangers = readdirSync(folder).filter((name) => !files.has(name));
  if (options.check) {
    const different = [...files].filter(([name, text]) => read(join(folder, name)) !== text).map(([name]) => name);
    for (const name of [...different, ...strangers])
      console.error(`${join(relative(process.cwd(), folder), name)} differs from what models/ says`);
    if (different.length + strangers.length === 0) return 0;
    console.error("run `npm run models` and commit the result");
    return 1;
  }
  for (const [name, text] of files) writeFileSync(join(folder, name), text);
  for (const name of strangers) rmSync(join(folder, name));
  console.log(`${machines.length} machines drawn into ${relative(process.cwd(), folder) || "."}`);
  return 0;
};

process.exitCode = await main(process.argv.slice(2));
