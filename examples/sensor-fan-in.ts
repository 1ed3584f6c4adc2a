// Many sensors, one collector: typed topics, a wildcard, the last value for who comes late. Each sensor and the collector is
// a session of its own, as if in a process of its own; start it with a daemon's socket to spread it over processes.
// usage: node examples/sensor-fan-in.ts [sensors=8] [readings=20]
import * as Schema from "effect/Schema";
import { openLunar } from "../src/apps/lunar-mom/lunar.ts";
import { defineTopic } from "../src/apps/lunar-mom/typed.ts";
import { Runtime } from "../src/index.ts";

const [sensors = 8, readings = 20] = process.argv.slice(2).map(Number);
const Reading = Schema.toStandardSchemaV1(
  Schema.Struct({ sensor: Schema.Int, number: Schema.Int, celsius: Schema.Finite }),
);
const delivery = { delivery: "at-least-once", last: true } as const;
const sensorTopic = (sensor: number) =>
  defineTopic({ topic: `plant/${sensor}/temperature`, schema: Reading, ...delivery });
const everySensor = defineTopic({ topic: "plant/+/temperature", schema: Reading });

await using runtime = await Runtime.embed({ network: { enabled: false }, log: { level: "error" } });

// The collector: whatever sensor there is, now or later.
await using collector = await openLunar(await runtime.connect({ name: "collector" }));
const latest = new Map<number, { count: number; sum: number; last: number }>();
const everything = Promise.withResolvers<void>();
let received = 0;
await everySensor.subscribe(
  collector,
  ({ sensor, celsius }, { topic }) => {
    const of = latest.get(sensor) ?? { count: 0, sum: 0, last: 0 };
    latest.set(sensor, { count: of.count + 1, sum: of.sum + celsius, last: celsius });
    if (!topic.startsWith(`plant/${sensor}/`)) throw new Error(`sensor ${sensor} speaks on ${topic}`);
    if (++received === sensors * readings) everything.resolve();
  },
  { invalid: ({ topic, reason }) => console.error(`no reading on ${topic}: ${reason}`) },
);

// The sensors: each measures on its own, and is heard from its first reading on.
async function sense(sensor: number): Promise<void> {
  const session = await runtime.connect({ name: `sensor ${sensor}` });
  const lunar = await openLunar(session);
  const publisher = await sensorTopic(sensor).publisher(lunar);
  await publisher.publisher.matched();
  for (let number = 0; number < readings; number++) {
    await publisher.send({ sensor, number, celsius: 20 + sensor + Math.sin(number) });
  }
  await publisher.publisher.settled();
  await lunar.close();
  await session.close();
}
await Promise.all(Array.from({ length: sensors }, (_, i) => sense(i + 1)));
await everything.promise;

for (const [sensor, { count, sum, last }] of [...latest].sort(([x], [y]) => x - y)) {
  console.log(`sensor ${sensor}: ${count} readings, mean ${(sum / count).toFixed(2)} C, last ${last.toFixed(2)} C`);
}
console.log(`${received} readings of ${latest.size} sensors`);
