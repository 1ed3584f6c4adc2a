// Every TypeScript block of the README and of docs/ is checked against the types of the public API, as a reader who copies it
// would have it checked. What runs is in readme.test.ts.
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const exports = (
  JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    readonly exports: Readonly<Record<string, { readonly types: string }>>;
  }
).exports;

/** What the blocks take for granted: what a block before made, and what is the reader's own. */
const GIVEN = `
import type { Message, Session, Sink, Source, StandardSchema, Stream } from "insane-middleware";
import type { Lunar } from "insane-middleware/lunar-mom";
declare global {
  const session: Session, stream: Stream, source: Source, sink: Sink, lunar: Lunar;
  const payload: Uint8Array;
  const use: (bytes: Uint8Array) => void, readSensorInto: (bytes: Uint8Array) => number;
  const answer: (memory: Message["memory"], offset: number, length: number) => void;
  const look: (number: number, width: number, height: number, bytes: Uint8Array) => void;
  const Reading: StandardSchema<{ date?: string; temperature?: number; celsius?: number }>;
}
`;

/** The source file behind a specifier of the package, by the package's own exports. */
function sourceOf(specifier: string): string {
  const path = specifier.replace(/^insane-middleware/, ".");
  const exact = exports[path]?.types;
  const types = exact ?? exports["./lunar-mom/*"]?.types.replace("*", path.slice("./lunar-mom/".length));
  return join(root, (types ?? "").replace("./dist/", "").replace(/\.d\.ts$/, ".ts"));
}

const resolved = (text: string): string =>
  text.replace(/"(insane-middleware[\w/-]*)"/g, (_, specifier: string) => JSON.stringify(sourceOf(specifier)));

/** Imports stay at the top, the rest goes into a function of its own: blocks give the same name to different things. */
function programOf(block: string): string {
  const complete = block.replaceAll("{ … }", "{}").replace(/=> …/g, "=> undefined");
  const imports = complete.match(/^import .*$/gm) ?? [];
  const body = complete.replace(/^import .*$/gm, "");
  return resolved(`import "./given.ts";\n${imports.join("\n")}\nexport async function block() {\n${body}\n}\n`);
}

it("the programs of README and docs are what the types allow", { timeout: 120_000 }, async () => {
  const pages = ["README.md", ...readdirSync(join(root, "docs")).map((name) => join("docs", name))];
  const folder = mkdtempSync(join(tmpdir(), "insane-docs-"));
  try {
    const files = pages
      .filter((page) => page.endsWith(".md"))
      .flatMap((page) =>
        [...readFileSync(join(root, page), "utf8").matchAll(/```ts\n(.*?)```/gs)].map(([, block = ""], i) => {
          const file = `${page.replaceAll(/\W/g, "-")}-${i + 1}.ts`;
          writeFileSync(join(folder, file), programOf(block));
          return file;
        }),
      );
    expect(files.length).toBeGreaterThan(15);
    writeFileSync(join(folder, "given.ts"), resolved(GIVEN));
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        extends: join(root, "tsconfig.json"),
        compilerOptions: {
          rewriteRelativeImportExtensions: false,
          typeRoots: [join(root, "node_modules/@types")],
        },
        files: ["given.ts", ...files],
        include: [],
      }),
    );
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const said = await promisify(execFile)(process.execPath, [tsc, "-p", folder]).then(
      () => "",
      ({ stdout, stderr }: { readonly stdout: string; readonly stderr: string }) => stdout + stderr,
    );
    expect(said).toBe("");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
