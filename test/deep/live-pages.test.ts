// The pages that show live streams, in a real browser: pictures move, figures and verdicts arrive, an end is told,
// and the page's script throws nothing. With INSANE_PICTURES=FOLDER what was seen is kept there.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, it } from "vitest";
import {
  connect,
  openBrowserSink,
  openServer,
  type StreamingError,
  TestPattern,
} from "../../src/apps/lunar-streaming/index.ts";
import { Runtime } from "../../src/index.ts";
import { eventually } from "../integration/runtime/processes.ts";
import { Chromium, chromiumMissing } from "./chromium.ts";

const missing = chromiumMissing();
const text = (id: string): string => `document.getElementById(${JSON.stringify(id)}).textContent`;
/** The middle pixel of a feed's canvas. */
const pixel = (feed: number): string =>
  `(() => { const c = live.canvas(${feed}); return c.width > 0 ? [...c.getContext("2d").getImageData(c.width / 2, c.height / 2, 1, 1).data] : []; })()`;

async function keep(page: Chromium, name: string): Promise<void> {
  const folder = process.env["INSANE_PICTURES"];
  const picture = await page.picture();
  expect(picture.length).toBeGreaterThan(20_000);
  if (folder === undefined) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.png`), picture);
}

describe.skipIf(missing !== "")(`pages of live streams ${missing}`, () => {
  it("the page of a stream draws its frames, shows figures, and says when it has ended", async () => {
    await using runtime = await Runtime.embed({ network: { enabled: false }, log: { level: "silent" } });
    await using session = await runtime.connect({ name: "page" });
    const source = new TestPattern({ width: 1920, height: 1080, pixels: "rgb8" });
    await using server = await openServer(session, { name: "cam", source, fps: 25 });
    void server.loop();
    await using client = await connect(session, { name: "cam" });
    await using sink = await openBrowserSink({ title: "Hall 3" });
    const shown = sink.show("Camera 1", client).catch((error: StreamingError) => error.code);
    await using page = await Chromium.open(sink.url);
    const first = await eventually(
      () => page.evaluate<number | undefined>("window.live?.number[0]"),
      (number) => Number(number) > 0,
    );
    await eventually(
      () => page.evaluate<number>("live.number[0]"),
      (number) => number > Number(first) + 20,
    );
    await eventually(
      () => page.evaluate<string>("document.querySelector('dd').textContent"),
      (fps) => Number(fps) > 0,
    );
    expect(await page.evaluate(pixel(0))).toContain(255);
    expect(await page.evaluate(text("title"))).toBe("Hall 3");
    await keep(page, "stream");
    await server.close();
    await shown;
    await eventually(
      () => page.evaluate<string>("document.querySelector('.over').textContent"),
      (said) => said.includes("ended"),
    );
    expect(page.errors).toEqual([]);
  });

  it("the factory line shows pictures and verdicts, marks what is rejected", async () => {
    const main = join(import.meta.dirname, "../../examples/factory-line/main.ts");
    const line = spawn(process.execPath, [main, "--json"], { stdio: ["ignore", "pipe", "pipe"] });
    const closed = once(line, "close");
    try {
      const [said] = (await once(createInterface({ input: line.stderr }), "line")) as [string];
      await using page = await Chromium.open((JSON.parse(said) as { url: string }).url);
      await eventually(
        () => page.evaluate<number[]>("window.live?.number ?? []"),
        (numbers) => numbers.length === 2 && numbers.every((n) => n > 5),
      );
      await eventually(
        () => page.evaluate<string>(text("parts")),
        (parts) => Number(parts.replace(/\D/g, "")) > 80,
        60_000,
      );
      await eventually(
        () => page.evaluate<number>("document.querySelectorAll('.inset.some').length"),
        (insets) => insets === 2,
        60_000,
      );
      await keep(page, "factory");
      expect(await page.evaluate(text("wrong"))).toBe("0 · 0");
      expect(await page.evaluate<string>(text("median"))).toMatch(/^[\d.]+ ms$/);
      expect(await page.evaluate(pixel(1))).toContain(255);
      expect(page.errors).toEqual([]);
      line.kill("SIGINT");
      await eventually(
        () => page.evaluate<string>(text("state")),
        (state) => state.includes("lost"),
      );
      expect(await closed).toEqual([0, null]);
    } finally {
      line.kill("SIGKILL");
      await closed;
    }
  });
});
