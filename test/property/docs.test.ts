// Reference pages against the code they describe: nothing missing, nothing that is not there (any more).
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { CommandSpec } from "../../src/apps/cli/arguments.ts";
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
