// NATS from Node: nats.ts ping|echo|send|receive LOCAL PEER PORT PAYLOAD WARMUP SECONDS. The server runs with the echo or the
// receiver and ends with it. Server and package are installed for the benchmarks only, or not at all.
import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { Counter, Stopwatch, say } from "./stopwatch.ts";

interface Connection {
  publish(subject: string, payload: Uint8Array): void;
  subscribe(subject: string, options: { callback: (error: Error | null, message: { data: Uint8Array }) => void }): void;
  flush(): Promise<void>;
}
const name: string = "@nats-io/transport-node";
const { connect } = (await import(name)) as { connect(options: object): Promise<Connection> };
const [role, local, peer, port, payloadText, warmupText, secondsText] = process.argv.slice(2);
const message = Buffer.alloc(Number(payloadText), 1);
const [warmup, seconds] = [Number(warmupText), Number(secondsText)];
const far = role === "echo" || role === "receive";
/** Messages between two flushes of the sender, without which nothing holds it back. */
const BURST = 256;

if (far) {
  // Dies with us, however we end.
  spawn("setpriv", ["--pdeathsig", "KILL", "nats-server", "-a", local!, "-p", port!], { stdio: "ignore" });
}
let connection: Connection | undefined;
for (let tries = 0; connection === undefined; tries++) {
  try {
    connection = await connect({ servers: `${far ? local : peer}:${port}`, reconnect: false });
  } catch (error) {
    if (tries > 100) throw error;
    await sleep(50);
  }
}
const nats = connection;
const sequenceOf = ({ data }: { data: Uint8Array }): number =>
  new DataView(data.buffer, data.byteOffset, data.byteLength).getUint32(0, true);

if (role === "echo") {
  nats.subscribe("there", { callback: (_, { data }) => nats.publish("back", data) });
  await nats.flush();
  say("ready");
} else if (role === "ping") {
  const watch = new Stopwatch(warmup, seconds);
  nats.subscribe("back", {
    callback: () => {
      if (watch.stop()) nats.publish("there", message);
      else {
        say(watch.result());
        process.exit(0);
      }
    },
  });
  await nats.flush();
  watch.start();
  nats.publish("there", message);
} else if (role === "send") {
  // The client copies a message when it sends it: none is used again before that.
  const messages = Array.from({ length: 2 * BURST }, () => Buffer.from(message));
  for (let sequence = 0; ; sequence = (sequence + 1) >>> 0) {
    const next = messages[sequence % messages.length] as Buffer;
    next.writeUInt32LE(sequence, 0);
    nats.publish("there", next);
    if (sequence % BURST === 0) await nats.flush();
  }
} else {
  const counter = new Counter(message.length, warmup, seconds);
  nats.subscribe("there", {
    callback: (_, received) => {
      const sequence = sequenceOf(received);
      if (counter.arrived(sequence, sequence, 1)) return;
      say(counter.result());
      process.exit(0);
    },
  });
  await nats.flush();
  say("ready");
}
