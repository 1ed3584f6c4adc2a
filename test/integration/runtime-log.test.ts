// A daemon whose log nobody reads: a pipe that is full from the start. It serves, it ends when it is told to, and what it
// had to say is there when somebody reads after all.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, it } from "vitest";
import { connect } from "../../src/index.ts";
import { LogDestination, tryWriteTo } from "../../src/runtime/log-destination.ts";
import { eventually } from "./runtime/processes.ts";
import { RawClient } from "./runtime/raw-client.ts";

const undo: Array<() => unknown> = [];
afterEach(async () => {
  for (const f of undo.splice(0).reverse()) await f();
});

/** A pipe of which this process holds both ends, without ever waiting at either. */
function pipe() {
  const folder = mkdtempSync(join(tmpdir(), "insane-log-"));
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "pipe");
  expect(spawnSync("mkfifo", [path]).status).toBe(0);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  undo.push(() => closeSync(fd));
  const chunk = Buffer.alloc(65536);
  return {
    path,
    folder,
    /** Until not one byte more goes in. */
    fill(): void {
      for (const bytes of [Buffer.alloc(4096, "#"), Buffer.from("#")]) {
        try {
          for (;;) writeSync(fd, bytes);
        } catch (cause) {
          expect((cause as NodeJS.ErrnoException).code).toBe("EAGAIN");
        }
      }
    },
    /** What is in it now. */
    read(): string {
      let text = "";
      try {
        for (;;) text += chunk.toString("utf8", 0, readSync(fd, chunk));
      } catch (cause) {
        expect((cause as NodeJS.ErrnoException).code).toBe("EAGAIN");
      }
      return text;
    },
  };
}

describe("a daemon whose log nobody reads", () => {
  async function up(): Promise<{
    readonly daemon: ChildProcess;
    readonly log: ReturnType<typeof pipe>;
    readonly socket: string;
  }> {
    const log = pipe();
    log.fill();
    const socket = join(log.folder, "socket");
    // A description of its own, which blocks, as a shell or a service manager would give it.
    const stderr = openSync(log.path, constants.O_RDWR);
    const main = join(import.meta.dirname, "../../src/apps/cli/main.ts");
    const daemon = spawn(process.execPath, [main, "up", "--json", "--no-network", "--socket", socket], {
      stdio: ["ignore", "pipe", stderr],
      env: { ...process.env, NODE_OPTIONS: "" },
    });
    closeSync(stderr);
    undo.push(async () => {
      if (daemon.exitCode !== null || daemon.signalCode !== null) return;
      daemon.kill("SIGKILL");
      await once(daemon, "exit");
    });
    if (!daemon.stdout) throw new Error("no pipe");
    await once(createInterface(daemon.stdout), "line");
    return { daemon, log, socket };
  }
  const chat = async (socket: string, sessions: number): Promise<void> => {
    for (let i = 0; i < sessions; i++) {
      await using session = await connect({ socket, name: `session ${i}` });
      const stream = await session.createStream({ name: "s" });
      const sink = await stream.createSink(1);
      const source = await stream.createSource(1);
      source.emit(source.getBuffer(8));
      (await sink.consume()).release();
    }
  };

  it("serves, and ends when it is told to", async () => {
    const { daemon, socket } = await up();
    await chat(socket, 3);
    daemon.kill("SIGTERM");
    await eventually(
      () => daemon.exitCode,
      (code) => code !== null,
    );
    expect(daemon.exitCode).toBe(0);
  });

  it("says it all to who reads later, what came again and again as a number", async () => {
    const { daemon, log, socket } = await up();
    for (let i = 0; i < 30; i++) {
      using client = new RawClient(socket);
      await client.hello();
    }
    let text = "";
    const lines = () =>
      text
        .replace(/^#+/, "")
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    /** How often something was said, or would have been. */
    const times = (what: string): number =>
      lines()
        .filter(({ msg }) => String(msg).endsWith(what))
        .reduce((sum, { repeated }) => sum + Number(repeated ?? 1), 0);
    await eventually(
      () => {
        text += log.read();
        return text.length === 0 ? [] : [times("runtime is up"), times("session attached"), times("session ended")];
      },
      (counts) => counts.join() === "1,30,30",
    );
    daemon.kill("SIGTERM");
    await eventually(
      () => daemon.exitCode,
      (code) => code === 0,
    );
    text += log.read();
    expect(times("closing")).toBe(1);
  });
});

describe("a full pipe", () => {
  it("is filled up to the bound, what is beyond it counted, and all that was kept comes out", async () => {
    const log = pipe();
    log.fill();
    const fd = openSync(log.path, constants.O_WRONLY | constants.O_NONBLOCK);
    undo.push(() => closeSync(fd));
    const destination = new LogDestination(tryWriteTo(fd), undefined, 100_000);
    let missing = 0;
    destination.onDropped = (lines) => {
      missing = lines;
    };
    const line = (i: number): string => `${String(i).padStart(999, "0")}\n`;
    for (let i = 0; i < 150; i++) destination.write(line(i));
    expect(destination.dropped).toBe(50);
    let text = "";
    await eventually(
      () => {
        text += log.read();
        return missing;
      },
      (lines) => lines === 50,
    );
    text += log.read();
    expect(text.replace(/^#+/, "")).toBe(Array.from({ length: 100 }, (_, i) => line(i)).join(""));
  });
});
