// Round trips over node:dgram: node-dgram.ts ping|echo LOCAL PEER PORT PAYLOAD WARMUP SECONDS
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { Stopwatch, say } from "./stopwatch.ts";

/** As in bench/native/measure.h; the host's limit may make it less. */
const SOCKET_BUFFER_BYTES = 4 << 20;
const LOST_AFTER_MS = 200;

const [role, local, peer, portText, payloadText, warmupText, secondsText] = process.argv.slice(2);
const port = Number(portText);
const socket = createSocket({ type: "udp4" });
socket.bind(port, local);
await once(socket, "listening");
socket.setRecvBufferSize(SOCKET_BUFFER_BYTES);
socket.setSendBufferSize(SOCKET_BUFFER_BYTES);
socket.connect(port, peer);
await once(socket, "connect");
// A datagram that nobody listens for yet comes back as an error; the timer below sends the next one.
socket.on("error", () => {});

if (role === "echo") {
  socket.on("message", (message) => socket.send(message));
  say("ready");
} else {
  const message = Buffer.alloc(Number(payloadText), 1);
  const watch = new Stopwatch(Number(warmupText), Number(secondsText));
  let sequence = 0;
  let timer: NodeJS.Timeout;
  const next = () => {
    message.writeUInt32LE(++sequence, 0);
    watch.start();
    socket.send(message);
  };
  // One timer, refreshed now and then: making one per message would be measured.
  const arm = () => {
    const at = sequence;
    timer = setTimeout(() => {
      if (at === sequence) next();
      arm();
    }, LOST_AFTER_MS);
  };
  socket.on("message", (answer) => {
    if (answer.readUInt32LE(0) !== sequence) return;
    if (watch.stop()) return next();
    clearTimeout(timer);
    socket.close();
    say(watch.result());
  });
  next();
  arm();
}
