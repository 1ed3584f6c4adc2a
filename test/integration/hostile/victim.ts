// An innocent application that listens on a channel where an attacker speaks: it reads everything that a message shows,
// holds some for a while, and decodes values, as applications do. Told what to do over Node's own IPC.
import { connect, defineChannel, type Message } from "../../../src/index.ts";

const [, , socket = "", stream = "calm", channelText = "66", hold = "4"] = process.argv;
const channel = Number(channelText);
const session = await connect({ socket, name: "victim" });
const opened = await session.createStream({ name: stream });

const seen = {
  messages: 0,
  bytes: 0,
  sum: 0,
  largest: 0,
  sources: new Set<number>(),
  values: 0,
  invalid: 0,
  thrown: "",
};
const held: Message[] = [];

function read(message: Message): void {
  const { bytes } = message;
  seen.messages++;
  seen.bytes += bytes.length;
  seen.largest = Math.max(seen.largest, bytes.length);
  for (let i = 0; i < bytes.length; i += 4093) seen.sum = (seen.sum + (bytes[i] as number)) >>> 0;
  if (bytes.length > 0) seen.sum = (seen.sum + (bytes[bytes.length - 1] as number)) >>> 0;
  seen.sources.add(message.source);
  const facts = [message.sequence, message.emitTime, message.receiveTime, message.channel];
  if (facts.some((fact) => typeof fact !== "number")) seen.thrown = `not numbers: ${facts}`;
  if (message.copy().length !== bytes.length) seen.thrown = "a copy of another length";
}

await opened.createSink(channel, { policy: { kind: "drop-newest" } }, (message) => {
  try {
    read(message);
  } catch (error) {
    seen.thrown = String(error);
  }
  held.push(message);
  while (held.length > Number(hold)) held.shift()?.release();
});
// A schema that takes anything: what is tested is decoding.
const anything = {
  "~standard": { version: 1 as const, vendor: "test", validate: (value: unknown) => ({ value }) },
};
const typed = defineChannel({ channel: channel + 1, schema: anything });
const values = await typed.createSink(opened, (value) => {
  seen.values++;
  // What was decoded must have nothing that others could reach.
  if (({} as Record<string, unknown>)["polluted"] !== undefined) seen.thrown = "polluted";
  void value;
});
values.on("invalid", () => {
  seen.invalid++;
});

process.on("message", (words: Record<string, unknown>) => {
  const result = { ...seen, sources: [...seen.sources], held: held.length };
  if (words["method"] === "release") for (const message of held.splice(0)) message.release();
  process.send?.({ answer: words["call"], result });
});
process.on("disconnect", () => process.exit(0));
process.on("uncaughtException", (error) => {
  seen.thrown = `uncaught: ${error.stack}`;
});
session.on("closed", ({ reason }) => process.send?.({ closed: reason }));
process.send?.({ connected: true, session: session.id });
