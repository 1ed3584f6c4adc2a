// The arrows of ARCHITECTURE.md, held against every import in the code: they run one way.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../..");
/** What a room may import from besides itself. */
const MAY_IMPORT: Readonly<Record<string, ReadonlyArray<string>>> = {
  models: [],
  "src/protocol": [],
  "src/native": ["src/protocol"],
  "src/client": ["src/protocol", "src/native"],
  "src/qos": ["src/protocol", "src/native"],
  "src/effects": ["src/protocol", "src/native"],
  "src/actors": ["src/protocol", "src/native", "src/effects", "src/qos", "models", "src/runtime"],
  "src/runtime": ["src/protocol", "src/native", "src/effects", "src/qos", "src/actors", "src/client", "models"],
  "src/index.ts": ["src/protocol", "src/native", "src/client", "src/runtime"],
};
/** The thin client starts in tens of milliseconds: these cost hundreds. */
const HEAVY = ["effect", "xstate", "@effect/platform-node", "pino"];

const files = ["src", "models"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => join(folder, file)),
);
const roomOf = (file: string): string => {
  if (file === "src/index.ts") return file;
  const [first = "", second = ""] = file.split("/");
  return first === "src" ? `${first}/${second}` : first;
};

interface Import {
  readonly file: string;
  readonly from: string;
  readonly typeOnly: boolean;
}
function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), "utf8");
  const found: Import[] = [];
  for (const match of text.matchAll(
    /^(?:import|export)\s+(type\s+)?[^;"']*?from\s+"([^"]+)"|import\(\s*"([^"]+)"\s*\)|^import\s+"([^"]+)"/gms,
  )) {
    found.push({ file, from: match[2] ?? match[3] ?? match[4] ?? "", typeOnly: match[1] !== undefined });
  }
  return found;
}
const imports = files.flatMap(importsOf);

describe("the house", () => {
  it("finds the imports it judges", () => {
    expect(files.length).toBeGreaterThan(40);
    expect(imports.length).toBeGreaterThan(files.length);
  });

  it.each(Object.keys(MAY_IMPORT))("%s imports only what its arrow allows", (room) => {
    const wrong = imports.flatMap(({ file, from }) => {
      if (roomOf(file) !== room || !from.startsWith(".")) return [];
      const target = roomOf(relative(root, resolve(root, dirname(file), from)));
      return target === room || MAY_IMPORT[room]?.includes(target) ? [] : [`${file} imports ${from}`];
    });
    expect(wrong).toEqual([]);
  });

  it("applications import the public module, protocol types and what lies beside them", () => {
    const wrong = imports.flatMap(({ file, from, typeOnly }) => {
      if (!file.startsWith("src/apps/") || !from.startsWith(".") || typeOnly) return [];
      const target = roomOf(relative(root, resolve(root, dirname(file), from)));
      return ["src/apps", "src/index.ts", "src/protocol"].includes(target) || file.startsWith("src/apps/cli/")
        ? []
        : [`${file} imports ${from}`];
    });
    expect(wrong).toEqual([]);
  });

  it("Lunar is on the public module and what lies beside it, and loads Effect in one file only", () => {
    const wrong = imports.flatMap(({ file, from }) => {
      if (!file.startsWith("src/apps/lunar-mom/")) return [];
      const allowed = ["@msgpack/msgpack", "node:events"].includes(from) || file.endsWith("/effect.ts");
      if (!from.startsWith(".")) return allowed ? [] : [`${file} imports ${from}`];
      const target = relative(root, resolve(root, dirname(file), from));
      return target === "src/index.ts" || dirname(target) === dirname(file) ? [] : [`${file} imports ${from}`];
    });
    expect(wrong).toEqual([]);
  });

  it("the thin client loads neither Effect nor XState nor pino, not even at one remove", () => {
    const reached = new Set<string>();
    const wrong: string[] = [];
    const visit = (file: string): void => {
      if (reached.has(file)) return;
      reached.add(file);
      for (const { from, typeOnly } of importsOf(file)) {
        if (typeOnly) continue;
        if (HEAVY.some((name) => from === name || from.startsWith(`${name}/`))) wrong.push(`${file} imports ${from}`);
        if (from.startsWith(".")) visit(relative(root, resolve(root, dirname(file), from)));
      }
    };
    for (const file of files) if (file.startsWith("src/client/")) visit(file);
    expect(reached.size).toBeGreaterThan(5);
    expect(wrong).toEqual([]);
  });
});
