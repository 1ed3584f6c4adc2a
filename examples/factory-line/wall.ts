// The wall in the control room: wall.ts SOCKET CAMERAS PORT. A further viewer of every camera, and a subscriber of what the
// detector says; it shows both in browsers and is on nobody's path.
import { readFileSync } from "node:fs";
import { openLunar } from "../../src/apps/lunar-mom/lunar.ts";
import { type Client, openBrowserSink, connect as view } from "../../src/apps/lunar-streaming/index.ts";
import { connect } from "../../src/index.ts";
import { cameraName, type Tally, TOPICS, type Verdict } from "./topics.ts";

const [socket = "", cameras = 1, port = 0] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const session = await connect({ socket, name: "wall" });
const lunar = await openLunar(session);
const browsers = await openBrowserSink({
  port,
  title: "Factory line",
  maxFps: 20,
  page: readFileSync(new URL("page.html", import.meta.url), "utf8"),
});
await lunar.subscribe(TOPICS.verdicts, (message) => {
  const verdict = JSON.parse(message.text()) as Verdict;
  browsers.publish(`verdict ${verdict.camera}`, verdict);
});
await lunar.subscribe(TOPICS.tallies, (message) => {
  const tally = JSON.parse(message.text()) as Tally;
  browsers.publish(`tally ${tally.camera}`, tally);
});
const clients: Client[] = [];
for (let camera = 1; camera <= cameras; camera++) {
  const client = await view(session, { name: cameraName(camera) });
  clients.push(client);
  // A camera that goes is told on the page.
  browsers.show(`Camera ${camera}`, client).catch(() => {});
}
process.on("disconnect", () => process.exit(0));
process.once("message", async () => {
  await browsers.close();
  for (const client of clients) await client.close();
  await session.close();
  process.disconnect();
});
process.send?.({ ready: true, url: browsers.url });
