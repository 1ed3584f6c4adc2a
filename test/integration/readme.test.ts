// The README's first program, run as it stands there against a real runtime.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { Runtime } from "../../src/index.ts";

const root = resolve(import.meta.dirname, "../..");

it("the first program of the README sends, receives and says that it was sent", async () => {
  const program = /## A first program\n\n```ts\n([\s\S]+?)```/.exec(readFileSync(join(root, "README.md"), "utf8"))?.[1];
  const folder = mkdtempSync(join(tmpdir(), "insane-readme-"));
  try {
    const socket = join(folder, "insane.sock");
    await using _runtime = await Runtime.embed({ socket, network: { enabled: false }, log: { level: "silent" } });
    const file = join(folder, "first.ts");
    writeFileSync(file, (program ?? "").replace('"insane-middleware"', JSON.stringify(join(root, "src/index.ts"))));
    const { stdout } = await promisify(execFile)(process.execPath, [file], {
      env: { ...process.env, INSANE_SOCKET: socket },
      timeout: 20_000,
    });
    expect(stdout).toContain("0 hello, edge\n");
    expect(stdout).toContain("{ state: 'sent' }");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
