// Reference pages against the code they describe: nothing missing, nothing that is not there (any more).
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { COMMON, type CommandSpec } from "../../src/apps/cli/arguments.ts";
import { ERROR_CODES, WARNING_CODES } from "../../src/protocol/codes.ts";
import { completeConfig, DEFAULT_CONFIG } from "../../src/runtime/config.ts";

const page = (name: string): string => readFileSync(join(import.meta.dirname, "../../docs", name), "utf8");
/** The cells of every row of every table of a page. */
const rows = (text: string): string[][] =>
  text
    .split("\n")
    .filter((line) => line.startsWith("| ") && !line.startsWith("|---"))
    .map((line) =>
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    );

describe("docs/codes.md", () => {
  it("has every code once, with cause and cure, and no other", () => {
    const listed = rows(page("codes.md")).filter(([code]) => code !== "code");
    const codes = listed.map(([code]) => code?.replaceAll("`", ""));
    expect(codes.toSorted()).toEqual([...Object.values(ERROR_CODES), ...Object.values(WARNING_CODES)].toSorted());
    for (const [code, cause = "", cure = "", ...more] of listed) {
      expect(more, code).toEqual([]);
      expect(Math.min(cause.length, cure.length), code).toBeGreaterThan(8);
    }
  });
});

describe("docs/configuration.md", () => {
  /** Dotted paths of all fields and their values. */
  const leaves = (value: object, path: string): Array<[string, unknown]> =>
    Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
      const name = path === "" ? key : `${path}.${key}`;
      const branch = typeof inner === "object" && inner !== null && !Array.isArray(inner);
      return branch ? leaves(inner, name) : [[name, inner] as [string, unknown]];
    });

  it("has every field with its default, and no other", () => {
    const listed = rows(page("configuration.md").split("## Strategies")[0] ?? "").filter(
      ([field]) => field !== "field",
    );
    const fields = listed.map(([field]) => field?.replaceAll("`", ""));
    expect(fields.toSorted()).toEqual(
      leaves(DEFAULT_CONFIG, "")
        .map(([name]) => name)
        .toSorted(),
    );
    for (const [field, value] of leaves(DEFAULT_CONFIG, "")) {
      const shown = listed.find(([name]) => name === `\`${field}\``)?.[1];
      if (field === "name") continue;
      const expected = field === "socketMode" ? "0600" : value;
      expect(shown, field).toBe(`\`${JSON.stringify(expected)}\``);
    }
  });

  it("has examples that are accepted", () => {
    const examples = [...page("configuration.md").matchAll(/```json\n(.*?)```/gs)].map(([, json]) => JSON.parse(json!));
    expect(examples.length).toBe(2);
    for (const example of examples) expect(() => completeConfig(example)).not.toThrow();
  });
});

describe("docs/cli.md", () => {
  it("has every command and every option", async () => {
    const text = page("cli.md");
    const lunar = ["topics", "echo", "hz", "pub", "sub", "stream"];
    for (const name of ["up", "doctor", "status", "top", "explain", "set-qos", ...lunar]) {
      const { command } = (await import(`../../src/apps/cli/${name}.ts`)) as {
        readonly command: { readonly spec: CommandSpec };
      };
      expect(text).toContain(`## insane ${name}\n`);
      for (const option of Object.keys(command.spec.options))
        expect(text, `${name} --${option}`).toContain(`--${option}`);
    }
  });
});

const root = join(import.meta.dirname, "../..");
const pages = ["", "docs", "examples"]
  .flatMap((folder) =>
    folder === ""
      ? readdirSync(root).map((name) => name)
      : readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((name) => join(folder, name)),
  )
  .filter((name) => name.endsWith(".md"));
const textOf = (name: string): string => readFileSync(join(root, name), "utf8");

describe("every page", () => {
  const anchor = (heading: string): string =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .trim()
      .replaceAll(" ", "-");

  it("links only to what is there, headings included", () => {
    const broken = pages.flatMap((name) =>
      [...textOf(name).matchAll(/\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)/g)].flatMap(([link, path = "", section]) => {
        const target = path === "" ? join(root, name) : join(root, dirname(name), path);
        if (!existsSync(target)) return [`${name}: ${link}`];
        if (section === undefined) return [];
        const headings = [...readFileSync(target, "utf8").matchAll(/^#+ (.+)$/gm)].map(([, text = ""]) => anchor(text));
        return headings.includes(section) ? [] : [`${name}: ${link}`];
      }),
    );
    expect(pages.length).toBeGreaterThan(30);
    expect(broken).toEqual([]);
  });

  it("names only commands, scripts and options that exist", async () => {
    const { scripts } = JSON.parse(textOf("package.json")) as { readonly scripts: Readonly<Record<string, string>> };
    const said = pages.flatMap((name) =>
      [...textOf(name).matchAll(/`((?:npm run |insane )[^`\n]+)`|^(npm run [^#\n]+)/gm)].map(([, code, line]) => ({
        name,
        words: (code ?? line ?? "").trim().split(/\s+/),
      })),
    );
    expect(said.length).toBeGreaterThan(50);
    for (const { name, words } of said) {
      const where = `${name}: ${words.join(" ")}`;
      if (words[0] === "npm") expect(Object.keys(scripts), where).toContain(words[2]);
      const line = words[0] === "insane" ? words.slice(1) : words[2] === "insane" ? words.slice(4) : [];
      const [command = ""] = line;
      if (!/^[a-z]/.test(command) || command === "native") continue;
      expect(existsSync(join(root, `src/apps/cli/${command}.ts`)), where).toBe(true);
      const { spec } = ((await import(`../../src/apps/cli/${command}.ts`)) as { command: { spec: CommandSpec } })
        .command;
      const options = Object.keys({ ...spec.options, ...COMMON });
      for (const word of line) if (word.startsWith("--")) expect(options, where).toContain(word.slice(2));
    }
  });
});

describe("ARCHITECTURE.md", () => {
  it("has every folder of src/, and none that is not there", () => {
    const named = rows(textOf("ARCHITECTURE.md")).flatMap(([folder = ""]) =>
      [...folder.matchAll(/`([^`]+)`/g)].map(([, path = ""]) => path),
    );
    for (const entry of readdirSync(join(root, "src"), { withFileTypes: true })) {
      const folder = `src/${entry.name}/`;
      if (entry.isDirectory())
        expect(named.filter((path) => path.startsWith(folder)).length, folder).toBeGreaterThan(0);
    }
    for (const path of named) {
      // A name beside another one is in the same folder.
      if (!path.endsWith("/")) continue;
      const places = [root, join(root, "src/native/datapaths")];
      expect(
        places.some((place) => existsSync(join(place, path))),
        path,
      ).toBe(true);
    }
  });
});
