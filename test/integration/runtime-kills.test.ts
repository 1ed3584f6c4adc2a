// `kill -9` at random moments under traffic: a short version; test/deep has a hundred.
import { it } from "vitest";
import { killAtRandom } from "./runtime/kills.ts";

it("applications killed at random moments leave nothing behind and take nothing from others", async () => {
  await killAtRandom(8, 20_261_123);
}, 60_000);

it("nor with the network's links among those that die", async () => {
  await killAtRandom(4, 7, { network: { enabled: true } });
}, 60_000);
