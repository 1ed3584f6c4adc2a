// The programs of the README, run as they stand there against a real runtime.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { Runtime } from "../../src/index.ts";

const root = resolve(import.meta.dirname, "../..");

/** Runs a program of the README beside a runtime of its own until its output is as wanted; answers all it said. */
async function runs(heading: string, enough: (out: string) => boolean): Promise<string> {
  const text = readFileSync(join(root, "README.md"), "utf8");
  const program = new RegExp(`## ${heading}\\n[\\s\\S]+?\`\`\`ts\\n([\\s\\S]+?)\`\`\``).exec(text)?.[1] ?? "";
  const folder = mkdtempSync(join(tmpdir(), "insane-readme-"));
  try {
    const socket = join(folder, "insane.sock");
    await using _runtime = await Runtime.embed({ socket, network: { enabled: false }, log: { level: "silent" } });
    const file = join(folder, "program.ts");
    writeFileSync(
      file,
      program
        .replace('"insane-middleware/lunar-mom"', JSON.stringify(join(root, "src/apps/lunar-mom/lunar.ts")))
        .replace('"insane-middleware"', JSON.stringify(join(root, "src/index.ts"))),
    );
    const child = spawn(process.execPath, [file], {
      env: { ...process.env, INSANE_SOCKET: socket },
      stdio: ["ignore", "pipe", "inherit"],
      timeout: 30_000,
    });
    const over = once(child, "exit");
    let out = "";
    for await (const piece of child.stdout.setEncoding("utf8")) {
      out += piece;
      if (enough(out)) child.kill("SIGINT");
    }
    await over;
    return out;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

it("the first program of the README sends, receives and says that it was sent", async () => {
  const out = await runs("A first program", () => false);
  expect(out).toContain("0 hello, edge\n");
  expect(out).toContain("{ state: 'sent' }");
});

it("the program on topics receives what it publishes", async () => {
  const line = "line/1/door open\n";
  expect(await runs("Topics", (out) => out.includes(line))).toBe(line);
});
