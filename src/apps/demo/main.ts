// The demo: two hosts, a sensor and a camera on A, receivers on B and beside the sources, one application killed midway.
// Shows progress, bindings and why, and ends with a table; --json ends with one object. Exit code 0 when all is well.
import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Host, makeHosts } from "./hosts.ts";
import { type Received, summary, tellBinding, tellTable } from "./report.ts";
import { type FromRole, type Role, startRole } from "./roles.ts";

const HELP = `usage: npm run demo -- [options]

Two hosts (as root: network namespaces joined by a veth pair; else two loopback addresses), a runtime on each, and on
host B one more whose configuration excludes XDP. A sensor publishes a data set and a camera, which asks for
acceleration, streams a picture on host A; two applications on host B (one on each runtime) and one on host A receive
both; another is killed midway. As root the camera's stream runs on XDP, but for the receiver that has none.
 Ends with a table of what was emitted, delivered, dropped, and of the slots still out.

  --image FILE    the camera's picture (PNG, JPEG, WebP, AVIF, GIF, TIFF); default: one that the demo draws
  --frames N      frames to stream (24)
  --rounds N      times the data set is published (3)
  --output DIR    where received pictures are saved (demo-output)
  --json          one object on the last line of standard output, and nothing else there
  --help          this text

exit codes: 0 all arrived and every slot came home; 1 not; 2 wrong usage; 130 interrupted`;

function options() {
  try {
    return parseArgs({
      options: {
        image: { type: "string" },
        frames: { type: "string", default: "24" },
        rounds: { type: "string", default: "3" },
        output: { type: "string", default: "demo-output" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    process.exit(2);
  }
}

const given = options();
if (given.help) {
  console.log(HELP);
  process.exit(0);
}
for (const key of ["frames", "rounds"] as const) {
  if (/^[1-9]\d{0,5}$/.test(given[key])) continue;
  console.error(`--${key} is "${given[key]}"; it must be a whole number from 1 to 999999`);
  process.exit(2);
}
const frames = Number(given.frames);
const rounds = Number(given.rounds);
const output = resolve(given.output);
mkdirSync(output, { recursive: true });
const note = (text: string): void => void process.stderr.write(`${text}\n`);

const roles: Role[] = [];
process.on("exit", () => {
  for (const role of roles) role.child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    note("interrupted: cleaning up");
    process.exit(130);
  });
}
function fail(error: unknown): never {
  note(`demo failed: ${error instanceof Error ? error.message : String(error)}`);
  if (given.json)
    process.stdout.write(
      `${JSON.stringify({ ok: false, error: error instanceof Error ? error.message : String(error) })}\n`,
    );
  process.exit(1);
}
process.on("uncaughtException", fail);

const progress = new Map<string, { readings: number; frames: number }>();
let told = 0;
function onMessage(role: string, message: FromRole): void {
  if (message.type !== "progress") return;
  const before = progress.get(role);
  progress.set(role, {
    readings: Math.max(message.readings, before?.readings ?? 0),
    frames: Math.max(message.frames, before?.frames ?? 0),
  });
  if (performance.now() - told < 250) return;
  told = performance.now();
  note(
    `  ${[...progress].map(([name, p]) => `${name} ${p.frames > 0 ? `${p.frames} frames` : `${p.readings} readings`}`).join("  ")}`,
  );
}

try {
  const hosts = await makeHosts((name, how) => fail(new Error(`the runtime on ${name} ended (${how})`)));
  note(
    hosts.kind === "namespaces"
      ? "two network namespaces joined by a veth pair stand for two hosts"
      : "not root: two loopback addresses stand for two hosts",
  );
  const start = (name: string, file: string, host: Host, args: string[]): Role => {
    const role = startRole(name, file, host.prefix, host.socket, args, onMessage);
    roles.push(role);
    return role;
  };
  const receivers = [
    { role: start("viewer-b1", "receiver.ts", hosts.b, ["1", resolve(output, "viewer-b1.png")]), remote: true },
    // The same program, where there is no XDP.
    { role: start("viewer-b2", "receiver.ts", hosts.plain, ["2", ""]), remote: true },
    { role: start("viewer-a", "receiver.ts", hosts.a, ["3", resolve(output, "viewer-a.png")]), remote: false },
  ];
  const victim = start("victim", "receiver.ts", hosts.a, ["9", "", "bystander"]);
  // Beside the sources: the local viewer, the victim, and the engine that serves the other host.
  const sensor = start("sensor", "sensor.ts", hosts.a, [String(rounds), "3"]);
  const camera = start("camera", "camera.ts", hosts.a, [
    String(frames),
    String(receivers.length),
    "3",
    ...(given.image === undefined ? [] : [resolve(given.image)]),
  ]);
  const streams = [...(await sensor.next("ready")).streams, ...(await camera.next("ready")).streams];
  const camerasDatapath = streams.find(({ by }) => by === "camera")?.datapath ?? "network";
  const over = new Map<string, string>();
  for (const { role, remote } of receivers) {
    const [stream] = (await role.next("ready")).streams;
    if (stream === undefined || !remote) continue;
    streams.push(stream);
    over.set(role.name, `${camerasDatapath} to ${stream.datapath ?? "nothing"}`);
  }
  await victim.next("ready");
  for (const role of [...receivers.map(({ role }) => role), victim]) await role.next("reached");
  if (!given.json) for (const stream of streams) tellBinding(stream);

  sensor.send({ type: "go" });
  camera.send({ type: "go" });
  while ((progress.get("camera")?.frames ?? 0) < Math.max(1, frames / 3)) await camera.next("progress");
  victim.child.kill("SIGKILL");
  note("  victim killed (SIGKILL)");

  const sent = { sensor: await sensor.next("sent", 45_000), camera: await camera.next("sent", 45_000) };
  const received: Received[] = [];
  for (const { role } of receivers) {
    role.send({ type: "report", readings: sent.sensor.messages, frames: sent.camera.frames });
    received.push({ ...(await role.next("received")), name: role.name, over: over.get(role.name) ?? "shm" });
  }
  const slots = [hosts.a, hosts.b, hosts.plain].map(hosts.status).reduce(
    (sum, status) => ({
      total: sum.total + status.slots.total,
      outstanding: sum.outstanding + status.slots.outstanding,
    }),
    { total: 0, outstanding: 0 },
  );
  const outcome = { streams, ...sent, receivers: received, killed: victim.name, slots };
  for (const role of roles) role.send({ type: "end" });
  if (given.json) process.stdout.write(`${JSON.stringify(summary(outcome))}\n`);
  else tellTable(outcome);
  process.exit(summary(outcome).ok ? 0 : 1);
} catch (error) {
  fail(error);
}
