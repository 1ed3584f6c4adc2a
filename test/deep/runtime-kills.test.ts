// A hundred applications killed at random moments under traffic.
import { it } from "vitest";
import { killAtRandom } from "../integration/runtime/kills.ts";

const seed = Number(process.env["INSANE_SEED"] ?? Date.now() % 1_000_000);

it(`a hundred kills leave nothing behind (INSANE_SEED=${seed})`, async () => {
  await killAtRandom(100, seed);
}, 300_000);

it(`a hundred kills with the network's links (INSANE_SEED=${seed})`, async () => {
  await killAtRandom(100, seed + 1, { network: { enabled: true } });
}, 300_000);
