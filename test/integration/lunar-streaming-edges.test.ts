// The edges of Lunar Streaming: pictures and video in, files and browsers out, compression between, and the command line.
// What cannot be decoded, ends early or does not read has a name and harms nobody else.
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  type Client,
  connect,
  decode,
  encoded,
  type FrameSource,
  images,
  openBrowserSink,
  openServer,
  type Server,
  type StreamingError,
  savePng,
  TestPattern,
  video,
} from "../../src/apps/lunar-streaming/index.ts";
import { type EmbeddedRuntime, Runtime, type Session } from "../../src/index.ts";
import { CommandLine } from "./cli/command-line.ts";
import { eventually } from "./runtime/processes.ts";

let folder = "";
let runtime: EmbeddedRuntime;
let session: Session;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "insane-stream-"));
  runtime = await Runtime.embed({ network: { enabled: false }, log: { level: "silent" } });
  session = await runtime.connect({ name: "edges" });
});
afterAll(async () => {
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
});

let names = 0;
/** A server of `source` that runs, which waits for its client, and that client. */
async function pair(
  source: FrameSource,
  options: object = {},
): Promise<{ server: Server; client: Client } & AsyncDisposable> {
  const name = `edge-${++names}`;
  const server = await openServer(session, { name, source, late: "wait", ...options });
  const client = await connect(session, { name });
  return {
    server,
    client,
    [Symbol.asyncDispose]: async () => {
      await client.close();
      await server.close();
    },
  };
}
const picture = (width: number, height: number, background: string) =>
  sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toBuffer();
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "no error",
    (error: StreamingError) => error.code,
  );

describe("pictures", () => {
  it("of a folder come in the order of their names, each in its size; one that cannot be decoded costs its frame", async () => {
    const place = join(folder, "pictures");
    mkdirSync(place);
    writeFileSync(join(place, "10.png"), await picture(64, 48, "#0000ff"));
    writeFileSync(join(place, "2.png"), await picture(32, 24, "#ff0000"));
    writeFileSync(join(place, "3.png"), "this is no picture");
    // Its header is whole, its pixels are not.
    writeFileSync(join(place, "4.png"), (await picture(640, 480, "#00ff00")).subarray(0, 700));
    writeFileSync(join(place, "notes.txt"), "not a picture either");
    await using both = await pair(await images(place));
    const refused: string[] = [];
    both.server.on("refused", ({ number, error }) => refused.push(`${number} ${error.code} ${error.message}`));
    void both.server.loop().then(() => both.server.close());
    const got: unknown[] = [];
    for await (const frame of both.client)
      got.push([frame.number, frame.width, frame.height, [...frame.bytes.subarray(0, 3)]]);
    expect(got).toEqual([
      [0, 32, 24, [255, 0, 0]],
      [3, 64, 48, [0, 0, 255]],
    ]);
    expect(refused).toEqual([
      expect.stringMatching(/^1 EDECODE .*3\.png cannot be decoded/),
      expect.stringMatching(/^2 EDECODE .*4\.png cannot be decoded/),
    ]);
    expect(both.client.stats).toMatchObject({ received: 2, skipped: 2, lost: 0, overtaken: 0 });
  });

  it("that are not there, or none that can be decoded, are refused at once", async () => {
    expect(await codeOf(images(join(folder, "nowhere")))).toBe("ESOURCE");
    mkdirSync(join(folder, "empty"));
    expect(await codeOf(images(join(folder, "empty")))).toBe("ESOURCE");
    writeFileSync(join(folder, "bad.jpg"), "no");
    expect(await codeOf(images(join(folder, "bad.jpg")))).toBe("EDECODE");
  });

  it.each(["jpeg", "webp", "avif", "png"] as const)(
    "travel as %s and are pixels again, and files",
    async (encoding) => {
      const pattern = new TestPattern({ width: 320, height: 180, pixels: "rgb8" }, 2);
      await using both = await pair(encoded(pattern, { encoding, quality: 90 }));
      void both.server.loop();
      const frame = await both.client.next();
      expect(frame).toMatchObject({ encoding, width: 320, height: 180 });
      const bytes = frame?.copy() ?? new Uint8Array();
      expect(bytes.length).toBeLessThan(320 * 180);
      const raw = await decode(bytes, "the frame");
      const right = new Uint8Array(320 * 180 * 3);
      pattern.getFrame(right, 0);
      const off = raw.bytes.reduce((sum, byte, i) => sum + Math.abs(byte - (right[i] as number)), 0) / right.length;
      expect(off).toBeLessThan(encoding === "png" ? 1e-9 : 12);
      const file = await savePng(frame!, join(folder, encoding));
      expect(Buffer.compare((await decode(file, file)).bytes, raw.bytes)).toBe(0);
      expect(readdirSync(join(folder, encoding))).toEqual(["frame-00000000.png"]);
      frame?.release();
    },
  );

  it("that claim to be encoded and are not cannot be decoded, by name", async () => {
    const format = { width: 8, height: 8, pixels: "rgb8" } as const;
    await using both = await pair({ format, encoding: "jpeg", getFrame: () => ({ bytes: 100 }) });
    void both.server.loop({ frames: 1 });
    const frame = await both.client.next();
    expect(await codeOf(savePng(frame!, join(folder, "never")))).toBe("EDECODE");
    frame?.release();
  });
});

/** A program in place of ffmpeg that does as `script` says, for the time of `use`. */
async function insteadOfFfmpeg(script: string, use: () => Promise<void>): Promise<void> {
  const place = mkdtempSync(join(folder, "bin-"));
  writeFileSync(join(place, "ffmpeg"), `#!/bin/sh\n${script}\n`);
  chmodSync(join(place, "ffmpeg"), 0o755);
  const before = process.env["PATH"];
  process.env["PATH"] = `${place}${delimiter}${before}`;
  try {
    await use();
  } finally {
    process.env["PATH"] = before;
  }
}
const small = { input: "x", width: 100, height: 10 };

describe("video", () => {
  const read = async (source: FrameSource): Promise<string[]> => {
    const said: string[] = [];
    await using both = await pair(source, { fps: 200 });
    both.server.on("refused", ({ error }) => said.push(`${error.code} ${error.message}`));
    void both.server.loop().then(() => both.server.close());
    for await (const frame of both.client) said.push(`frame ${frame.number} of ${frame.bytes.length}`);
    return said;
  };

  it("that ends within a frame says so and brings those before it", async () => {
    await insteadOfFfmpeg("head -c 7000 /dev/zero", async () => {
      expect(await read(await video(small))).toEqual([
        "frame 0 of 3000",
        "frame 1 of 3000",
        expect.stringMatching(/^EFRAMESIZE .* ended within a frame: 1000 of 3000 bytes/),
      ]);
    });
  });

  it("whose program fails or is killed says what it said", async () => {
    await insteadOfFfmpeg("head -c 3000 /dev/zero; echo the lens is dirty >&2; exit 3", async () => {
      expect(await read(await video(small))).toEqual([
        "frame 0 of 3000",
        expect.stringMatching(/^ESOURCE .*with 3: the lens is dirty/),
      ]);
    });
    await insteadOfFfmpeg("kill -9 $$", async () => {
      expect(await read(await video(small))).toEqual([expect.stringMatching(/^ESOURCE .*SIGKILL/)]);
    });
  });

  it("without ffmpeg says which package it is in", async () => {
    const before = process.env["PATH"];
    process.env["PATH"] = folder;
    try {
      await expect(video({ input: "x" })).rejects.toMatchObject({
        code: "ESOURCE",
        message: expect.stringContaining("Debian package ffmpeg"),
      });
    } finally {
      process.env["PATH"] = before;
    }
  });

  it("is read by a program that goes when the server does", async () => {
    let pid = 0;
    await insteadOfFfmpeg(`echo $$ > ${join(folder, "pid")}; exec cat /dev/zero`, async () => {
      const both = await pair(await video(small));
      void both.server.loop();
      (await both.client.next())?.release();
      pid = Number(spawnSync("cat", [join(folder, "pid")], { encoding: "utf8" }).stdout);
      expect(() => process.kill(pid, 0)).not.toThrow();
      await both[Symbol.asyncDispose]();
    });
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
  });

  it.runIf(spawnSync("ffmpeg", ["-version"]).status === 0)("of ffmpeg itself comes frame by frame", async () => {
    const source = await video({ input: "testsrc2=size=320x240:rate=25:duration=1", kind: "lavfi" });
    expect(source.format).toEqual({ width: 320, height: 240, pixels: "rgb8" });
    expect(await read(source)).toHaveLength(25);
    await expect(video({ input: join(folder, "none.mp4") })).rejects.toMatchObject({
      code: "ESOURCE",
      message: expect.stringContaining("No such file"),
    });
  });
});

describe("browsers", () => {
  /** As a browser's script would, without drawing. */
  async function browser(url: string, draws: boolean) {
    const socket = new WebSocket(`${url.replace("http", "ws")}live`);
    socket.binaryType = "arraybuffer";
    const texts: Array<{ type: string; [field: string]: unknown }> = [];
    const pictures: Array<{ number: number; bytes: Uint8Array }> = [];
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") {
        texts.push(JSON.parse(data));
        if (texts.at(-1)?.type === "feeds") socket.send("0");
        return;
      }
      pictures.push({ number: new DataView(data).getUint32(4, true), bytes: new Uint8Array(data, 16) });
      if (draws) socket.send("0");
    };
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = reject;
    });
    return { socket, texts, pictures };
  }

  it("get pictures as they draw them; one that never draws gets one and holds up nobody", async () => {
    await using sink = await openBrowserSink({ title: "the line", maxWidth: 160, maxFps: 1000 });
    const pattern = new TestPattern({ width: 320, height: 180, pixels: "rgb8" });
    await using both = await pair(pattern, { fps: 60 });
    void both.server.loop();
    const shown = sink.show("one", both.client);
    sink.publish("verdict", { good: 1 });
    const quick = await browser(sink.url, true);
    const stuck = await browser(sink.url, false);
    await eventually(
      () => quick.pictures.length,
      (count) => count > 20,
    );
    await eventually(
      () => stuck.pictures.length,
      (count) => count === 1,
    );
    const { number, bytes } = quick.pictures[10]!;
    expect(number).toBeGreaterThan(quick.pictures[9]!.number);
    expect(await sharp(bytes).metadata()).toMatchObject({ format: "jpeg", width: 160, height: 90 });
    expect(quick.texts[0]).toMatchObject({ type: "feeds", title: "the line", feeds: [{ name: "one", width: 320 }] });
    expect(quick.texts).toContainEqual({ type: "data", kind: "verdict", value: { good: 1 } });
    await eventually(
      () => quick.texts,
      (texts) => texts.some(({ type, fps }) => type === "statistics" && Number(fps) > 0),
    );
    expect(stuck.pictures.length).toBe(1);
    await both.server.close();
    await shown;
    await eventually(
      () => quick.texts.at(-1),
      (last) => JSON.stringify(last).includes('"over":"ended"'),
    );
    quick.socket.close();
    stuck.socket.close();
  });

  it("of other sites are refused, as is what is no page; a port that is taken has a name", async () => {
    await using sink = await openBrowserSink();
    const { port } = new URL(sink.url);
    const page = await fetch(sink.url);
    expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(await page.text()).toContain("/live.js");
    expect((await fetch(`${sink.url}secret`)).status).toBe(404);
    expect((await fetch(sink.url, { method: "POST" })).status).toBe(405);
    const { WebSocket: Other } = await import("ws");
    const foreign = new Other(`ws://127.0.0.1:${port}/live`, { origin: "http://elsewhere.example" });
    await expect(once(foreign, "open")).rejects.toThrow();
    // A site that lets its own name point here is of one origin with itself, and all the same another's.
    const name = `elsewhere.example:${port}`;
    const rebound = new Other(`ws://127.0.0.1:${port}/live`, { origin: `http://${name}`, headers: { host: name } });
    await expect(once(rebound, "open")).rejects.toThrow();
    const local = new Other(`ws://localhost:${port}/live`, { origin: `http://localhost:${port}`, family: 4 });
    await once(local, "open");
    local.close();
    expect(await codeOf(openBrowserSink({ port: Number(port) }))).toBe("ESOURCE");
  });
});

describe("insane stream", () => {
  const cli = new CommandLine();
  const { start } = cli;
  afterEach(() => cli.stop());
  afterAll(() => cli.remove());

  it("serves and views, writes files, and tells of a server that was killed", async () => {
    const { socket } = await cli.up("--no-network");
    const serve = start([
      "stream",
      "serve",
      "cam",
      "--pattern",
      "320x180",
      "--fps",
      "50",
      "--socket",
      socket,
      "--json",
    ]);
    await serve.says(/"ready":true/, "err");
    const png = join(folder, "cli");
    const files = start(["stream", "view", "cam", "--png", png, "--count", "2", "--socket", socket]);
    expect(await files.exit).toBe(0);
    expect(readdirSync(png)).toHaveLength(2);
    const view = start(["stream", "view", "cam", "--socket", socket, "--json", "--web", "0"]);
    const [, url = ""] = await view.says(/"url":"([^"]+)"/, "err");
    expect((await fetch(url)).status).toBe(200);
    await view.says(/"fps":[1-9]/);
    serve.child.kill("SIGKILL");
    expect(await view.exit).toBe(1);
    expect(JSON.parse(view.err.trim().split("\n").at(-1) ?? "")).toMatchObject({ error: { code: "ESERVERGONE" } });
  });

  it.each([
    [["play", "x"], 2, 'not "play"'],
    [["serve"], 2, "serve|view NAME"],
    [["serve", "x", "--pattern", "big"], 2, '--pattern is "big"'],
    [["serve", "x", "--pattern", "64x64", "--video", "y"], 2, "exclude each other"],
    [["view", "x", "--fps", "3"], 2, "--fps is not for insane stream view"],
    [["serve", "x", "--web", "80"], 2, "--web is not for insane stream serve"],
    [["serve", "x", "--images", "/nonexistent"], 1, "ESOURCE"],
  ] as Array<[string[], number, string]>)("%j ends with code %i and says %s", async (line, code, words) => {
    const insane = start(["stream", ...line]);
    expect(await insane.exit).toBe(code);
    expect(insane.err).toContain(words);
  });
});
