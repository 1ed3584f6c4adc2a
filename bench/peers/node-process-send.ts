// process.send between a parent and its forked child, binary ("advanced") serialization:
// node-process-send.ts near|far rtt|rate PAYLOAD WARMUP SECONDS. `near` is the parent; it forks `far` onto core 1.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Counter, Stopwatch, say } from "./stopwatch.ts";

/** Messages given to the channel and not yet written: enough to keep it busy, few enough to keep memory small. */
const IN_FLIGHT = 64;
const IN_FLIGHT_BYTES = 4 << 20;

const [role, task, payloadText, warmupText, secondsText] = process.argv.slice(2);
const payload = Number(payloadText);
const warmup = Number(warmupText);
const seconds = Number(secondsText);

function finish(result: Record<string, number>): never {
  say(result);
  process.exit(0);
}

function near(): void {
  const child = fork(fileURLToPath(import.meta.url), ["far", ...process.argv.slice(3)], {
    execPath: "setpriv",
    execArgv: ["--pdeathsig", "KILL", "taskset", "-c", "1", process.execPath],
    serialization: "advanced",
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  child.on("exit", (code) => process.exit(code ?? 1));
  const message = Buffer.alloc(payload, 1);
  if (task === "rtt") {
    const watch = new Stopwatch(warmup, seconds);
    const next = () => {
      watch.start();
      child.send(message);
    };
    child.on("message", () => {
      if (watch.stop()) return next();
      finish(watch.result());
    });
    next();
    return;
  }
  let sequence = 0;
  const send = () => {
    // Serialized at once, so the one buffer may be changed for the next message.
    message.writeUInt32LE(sequence++ >>> 0, 0);
    child.send(message, (error) => {
      if (!error) send();
    });
  };
  const window = Math.max(2, Math.min(IN_FLIGHT, Math.floor(IN_FLIGHT_BYTES / payload)));
  for (let i = 0; i < window; i++) send();
}

function far(): void {
  process.on("disconnect", () => process.exit(1));
  if (task === "rtt") {
    process.on("message", (message) => process.send?.(message));
    return;
  }
  const counter = new Counter(payload, warmup, seconds);
  process.on("message", (message: Uint8Array) => {
    const sequence = new DataView(message.buffer, message.byteOffset).getUint32(0, true);
    if (!counter.arrived(sequence, sequence, 1)) finish(counter.result());
  });
}

if (role === "near") near();
else far();
