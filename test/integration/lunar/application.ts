// An application with topics in a process of its own, for tests: socket and name in its arguments, calls over IPC. It is the
// same whatever its messages go over.
import { openLunar, type Publisher } from "../../../src/apps/lunar-mom/lunar.ts";
import { Requester, respond } from "../../../src/apps/lunar-mom/request.ts";

const [socket = "", name = ""] = process.argv.slice(2);
const lunar = await openLunar({ socket, name });
// Nobody asks for these; a test that waits in vain is explained by them.
lunar.on("problem", (error) => console.error(`${name}: problem: ${error.message}`));
lunar.on("warning", ({ code, message }) => console.error(`${name}: ${code}: ${message}`));
const qos = { acceleration: "fast", consumption: "high" } as const;
const got = new Map<string, string[]>();
const publishers = new Map<string, Publisher>();

const calls: Record<string, (words: Record<string, string>) => unknown> = {
  subscribe: async ({ pattern = "" }) => {
    await lunar.subscribe(pattern, (message) => {
      const texts = got.get(message.topic) ?? [];
      got.set(message.topic, texts);
      texts.push(message.text());
    });
  },
  publisher: async ({ topic = "" }) => {
    const publisher = await lunar.publisher(topic, { qos, delivery: "at-least-once", last: true });
    publishers.set(topic, publisher);
    // Its own subscription is one of them.
    await publisher.matched(2);
  },
  send: async ({ topic = "", count = "0", size = "0" }) => {
    const publisher = publishers.get(topic) as Publisher;
    for (let i = 0; i < Number(count); i++) await publisher.send(String(i).padStart(Number(size), "."));
    await publisher.settled();
  },
  /** How many came of a topic, and whether in order and each once. */
  received: ({ topic = "" }) => {
    const texts = got.get(topic) ?? [];
    return { count: texts.length, ordered: texts.every((text, i) => Number(text.replaceAll(".", "")) === i) };
  },
  respond: async ({ topic = "" }) =>
    void (await respond(lunar, topic, (question) => `${name}: ${question.text()}`, { qos })),
  request: async ({ topic = "" }) => {
    await using asks = await Requester.open(lunar, topic, { qos });
    return Buffer.from(await asks.request("who?", { timeoutMs: 20_000 })).toString();
  },
  topics: async () => (await lunar.topics()).map(({ topic }) => topic),
  close: async () => {
    await lunar.close();
    setImmediate(() => process.disconnect());
  },
};
process.on("message", async (words: Record<string, string>) => {
  const { call, method = "" } = words;
  try {
    process.send?.({ answer: call, result: await calls[method]?.(words) });
  } catch (error) {
    process.send?.({ answer: call, error: String(error) });
  }
});
process.on("disconnect", () => process.exit(0));
process.send?.({ connected: true });
