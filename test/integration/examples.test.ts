// Every example runs, does what it says, and leaves nothing behind.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";

const folder = join(import.meta.dirname, "../../examples");
const running = new Set<ChildProcess>();
afterEach(() => {
  for (const child of running) child.kill("SIGKILL");
});

function start(file: string, args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [join(folder, file), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NODE_OPTIONS: "", VITEST: "", ...env },
  });
  running.add(child);
  const said = { out: "", err: "" };
  child.stdout.on("data", (text) => {
    said.out += text;
  });
  child.stderr.on("data", (text) => {
    said.err += text;
  });
  const exit = new Promise<number | null>((resolve) => {
    child.on("close", (code) => {
      running.delete(child);
      resolve(code);
    });
  });
  return { child, said, exit };
}

describe("examples", { timeout: 90_000 }, () => {
  it("are short, and all in their list", () => {
    const files = readdirSync(folder).filter((file) => file.endsWith(".ts"));
    const list = readFileSync(join(folder, "README.md"), "utf8");
    expect(files.length).toBeGreaterThan(1);
    for (const file of files) {
      expect(list).toContain(`[${file}](${file})`);
      expect(readFileSync(join(folder, file), "utf8").split("\n").length, file).toBeLessThan(100);
    }
  });

  it("sensor-fan-in: every reading of every sensor arrives", async () => {
    const { said, exit } = start("sensor-fan-in.ts", ["4", "10"]);
    expect([await exit, said.err]).toEqual([0, ""]);
    expect(said.out.split("\n").filter((line) => /^sensor \d: 10 readings/.test(line)).length).toBe(4);
    expect(said.out).toContain("40 readings of 4 sensors");
  });

  it("live-server: what is published reaches a browser, bad topics are refused, and it goes in order", async () => {
    const place = mkdtempSync(join(tmpdir(), "insane-live-"));
    try {
      const socket = join(place, "insane.sock");
      const server = start("live-server.ts", ["0"], { INSANE_SOCKET: socket });
      await expect.poll(() => server.said.out, { timeout: 40_000 }).toMatch(/http/);
      const [, at] = /(http:\S+)/.exec(server.said.out) ?? [];
      expect(await (await fetch(`${at}/`)).text()).toContain("EventSource");
      const refused = await fetch(`${at}/events?topic=a//b`);
      expect([refused.status, await refused.text()]).toEqual([400, expect.stringMatching(/^EVALUE/)]);
      const gone = new AbortController();
      const stream = await fetch(`${at}/events?topic=plant/%23`, { signal: gone.signal });
      const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader();
      let seen = "";
      const until = async (what: string): Promise<void> => {
        while (!seen.includes(what)) {
          const { done, value = "" } = await reader.read();
          if (done) throw new Error(`the stream ended before ${what}: ${seen}`);
          seen += value;
        }
      };
      await until("listening");
      // Kept, so that it comes however soon it was published.
      expect((await fetch(`${at}/publish?topic=plant/1`, { method: "POST", body: "22 C" })).status).toBe(204);
      await until('{"topic":"plant/1","text":"22 C","missed":0}');
      gone.abort();
      server.child.kill("SIGTERM");
      expect(await server.exit).toBe(0);
      expect([existsSync(socket), server.said.err]).toEqual([false, ""]);
    } finally {
      rmSync(place, { recursive: true, force: true });
    }
  });
});
