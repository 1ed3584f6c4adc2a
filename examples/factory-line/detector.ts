// The defect detector: detector.ts SOCKET CAMERAS. Looks at every picture of every camera where it lies in shared memory, and
// answers on a topic at once. It learns what good parts look like from the first ones.
import { openLunar } from "../../src/apps/lunar-mom/lunar.ts";
import { type Client, connect as view } from "../../src/apps/lunar-streaming/index.ts";
import { connect } from "../../src/index.ts";
import { DifferenceDetector } from "./difference.ts";
import { cameraName, TOPICS, type Verdict } from "./topics.ts";

const [socket = "", cameras = 1] = [process.argv[2], Number(process.argv[3])];
const session = await connect({ socket, name: "detector" });
const lunar = await openLunar(session);
const clients: Client[] = [];

async function watch(camera: number): Promise<void> {
  const client = await view(session, { name: cameraName(camera), keep: 4 });
  clients.push(client);
  const { width, height } = client.server;
  const detector = new DifferenceDetector(width, height);
  let part = 0;
  for await (const { number: frame, bytes } of client) {
    const begun = performance.now();
    let verdict: Pick<Verdict, "good" | "boxes" | "score"> = { good: true, boxes: [], score: 0 };
    if (detector.ready) {
      const { boxes, score } = detector.inspect(bytes);
      verdict = { good: boxes.length === 0, boxes, score };
    } else detector.learn(bytes);
    const answer: Verdict = { camera, frame, part: part++, ...verdict, inspectMs: performance.now() - begun };
    await lunar.publish(TOPICS.verdicts, JSON.stringify(answer));
  }
}

process.on("disconnect", () => process.exit(0));
process.once("message", async () => {
  for (const client of clients) await client.close();
  await session.close();
  process.disconnect();
});
const watching = Promise.all(Array.from({ length: cameras }, (_, i) => watch(i + 1)));
process.send?.({ ready: true });
// A camera that has gone ends the detector; closing it does, too, and then nobody minds.
await watching.catch((error: Error & { code?: string }) => {
  if (error.code === "ECLOSED") return;
  console.error(`detector: ${error.code}: ${error.message}`);
  process.exit(1);
});
