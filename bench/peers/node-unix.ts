// A Unix stream socket between two Node processes: node-unix.ts near|far rtt|rate PATH PAYLOAD WARMUP SECONDS.
// `far` listens; in `rtt` it echoes, in `rate` it counts what `near` sends.
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { FrameReader, HEAD_BYTES } from "./frames.ts";
import { Counter, Stopwatch, say } from "./stopwatch.ts";

/** Small messages leave together, up to this many bytes a write: a system call a message would be the peer's fault. */
const WRITE_BYTES = 65536;

const [role, task, path = "", payloadText, warmupText, secondsText] = process.argv.slice(2);
const payload = Number(payloadText);
const warmup = Number(warmupText);
const seconds = Number(secondsText);

const frame = (sequence: number): Buffer => {
  const buffer = Buffer.alloc(HEAD_BYTES + payload, 1);
  buffer.writeUInt32LE(payload, 0);
  buffer.writeUInt32LE(sequence, 4);
  return buffer;
};

function echo(socket: Socket): void {
  const reader = new FrameReader();
  const answer = frame(0);
  socket.on("data", (chunk) => {
    reader.take(chunk);
    for (let i = 0; i < reader.messages; i++) socket.write(answer);
  });
}

function count(socket: Socket): void {
  const reader = new FrameReader();
  const counter = new Counter(payload, warmup, seconds);
  socket.on("data", (chunk) => {
    reader.take(chunk);
    if (!reader.messages || counter.arrived(reader.first, reader.last, reader.messages)) return;
    say(counter.result());
    process.exit(0);
  });
}

function ping(socket: Socket): void {
  const reader = new FrameReader();
  const message = frame(0);
  const watch = new Stopwatch(warmup, seconds);
  const next = () => {
    watch.start();
    socket.write(message);
  };
  socket.on("data", (chunk) => {
    reader.take(chunk);
    if (!reader.messages) return;
    if (watch.stop()) return next();
    say(watch.result());
    process.exit(0);
  });
  next();
}

function flood(socket: Socket): void {
  const frames = Math.max(1, Math.floor(WRITE_BYTES / (HEAD_BYTES + payload)));
  let sequence = 0;
  // Two buffers take turns: one is filled while the kernel may still hold the other.
  const buffers = [0, 1].map(() => Buffer.concat(Array.from({ length: frames }, () => frame(0))));
  const send = (buffer: Buffer) => {
    for (let at = 4; at < buffer.length; at += HEAD_BYTES + payload) buffer.writeUInt32LE(sequence++ >>> 0, at);
    socket.write(buffer, () => send(buffer));
  };
  for (const buffer of buffers) send(buffer);
}

if (role === "far") {
  const server = createServer(task === "rtt" ? echo : count);
  server.on("connection", (socket) => socket.on("error", () => process.exit(1)));
  server.listen(path);
  await once(server, "listening");
  say("ready");
} else {
  const socket = connect(path);
  socket.on("error", () => process.exit(1));
  await once(socket, "connect");
  if (task === "rtt") ping(socket);
  else flood(socket);
}
