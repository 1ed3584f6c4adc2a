// ZeroMQ from Node, over TCP: zeromq.ts ping|echo|send|receive LOCAL PEER PORT PAYLOAD WARMUP SECONDS. Pairs for round trips,
// push and pull for rates. Its package is installed beside this file (package.json), or not at all.
import { Counter, Stopwatch, say } from "./stopwatch.ts";

interface Socket {
  bind(address: string): Promise<void>;
  connect(address: string): void;
  send(message: Uint8Array): Promise<void>;
  receive(): Promise<[Buffer]>;
}
type Module = Readonly<Record<"Pair" | "Push" | "Pull", new (options?: object) => Socket>>;

const name: string = "zeromq";
const { Pair, Push, Pull } = (await import(name)) as Module;
const [role, local, peer, port, payloadText, warmupText, secondsText] = process.argv.slice(2);
const message = Buffer.alloc(Number(payloadText), 1);
const [warmup, seconds] = [Number(warmupText), Number(secondsText)];

if (role === "echo") {
  const socket = new Pair();
  await socket.bind(`tcp://${local}:${port}`);
  say("ready");
  for (;;) {
    const [asked] = await socket.receive();
    await socket.send(asked);
  }
} else if (role === "ping") {
  const socket = new Pair();
  socket.connect(`tcp://${peer}:${port}`);
  const watch = new Stopwatch(warmup, seconds);
  watch.start();
  do {
    await socket.send(message);
    await socket.receive();
  } while (watch.stop());
  say(watch.result());
} else if (role === "send") {
  const socket = new Push({ linger: 0 });
  socket.connect(`tcp://${peer}:${port}`);
  for (let sequence = 0; ; sequence = (sequence + 1) >>> 0) {
    // Each message is its own: the library sends it later.
    const next = Buffer.from(message);
    next.writeUInt32LE(sequence, 0);
    await socket.send(next);
  }
} else {
  const socket = new Pull();
  await socket.bind(`tcp://${local}:${port}`);
  say("ready");
  const counter = new Counter(message.length, warmup, seconds);
  for (;;) {
    const [bytes] = await socket.receive();
    const sequence = bytes.readUInt32LE(0);
    if (!counter.arrived(sequence, sequence, 1)) break;
  }
  say(counter.result());
}
process.exit(0);
