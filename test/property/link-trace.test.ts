// The link in TypeScript and the link in C are one algorithm: on any trace of operations, hostile words in the segment
// included, both answer the same and leave the same words behind. The C side is test/native/trace_link.c.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { expect, test } from "vitest";
import { AGAIN, FAULT, type Home, LinkConsumer, LinkProducer, PLACE_MASK, PLACE_SHIFT } from "../../src/client/link.ts";
import { DESCRIPTOR, LINK, linkBytes } from "../../src/protocol/layout.ts";

const { ENTRY_MASK, POOL_SHIFT, POOL_MASK, FLAGS_SHIFT, CHANNEL_MASK, SOURCE_SHIFT } = DESCRIPTOR;
type Eight = [number, number, number, number, number, number, number, number];

const program = fileURLToPath(new URL("../../build/release/test/trace_link", import.meta.url));
const EPROTO = "fault";
const EAGAIN = "again";

/** One operation as it is drawn; what depends on the state (which entry is given back) is only chosen when it runs. */
type Operation =
  | { readonly name: "push"; readonly fields: readonly number[] }
  | { readonly name: "publish" | "ready" | "returns" }
  | { readonly name: "reclaim" | "abandon" | "take"; readonly max: number }
  | { readonly name: "return"; readonly pick: number; readonly status: number }
  | { readonly name: "poke"; readonly place: Place; readonly value: number };
type Place = { readonly area: "forwardTail" | "returnTail" | "descriptors" | "returns"; readonly index: number };

const u32 = fc.integer({ min: 0, max: 0xffffffff });
// Pools, slots and contexts are the producer's own and stay within their fields there.
const u16 = fc.integer({ min: 0, max: 0xffff });
const u8 = fc.integer({ min: 0, max: 0xff });
const own = fc.integer({ min: 0, max: 0x7fffffff });
const max = fc.oneof(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 80 }));
// Mostly plausible lies: entries, and indices near the true ones.
const lie = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  u32,
  fc.integer({ min: 0, max: 15 }).map((n) => n | (n << 16)),
);
const area = fc.constantFrom("forwardTail", "returnTail", "descriptors", "returns");

const honest: fc.Arbitrary<Operation>[] = [
  fc.record({ name: fc.constant("push"), fields: fc.tuple(u8, u16, own, u32, u32, u32, u32, u32) }),
  fc.record({ name: fc.constantFrom("publish", "ready", "returns") }),
  fc.record({ name: fc.constantFrom("reclaim", "take"), max }),
  fc.record({ name: fc.constant("return"), pick: fc.nat(), status: fc.integer({ min: 0, max: 255 }) }),
];
const hostile: fc.Arbitrary<Operation>[] = [
  fc.record({ name: fc.constant("abandon"), max }),
  fc.record({ name: fc.constant("poke"), place: fc.record({ area, index: fc.nat(63) }), value: lie }),
];
const entries = fc.constantFrom(16, 64);
const traces = (operations: fc.Arbitrary<Operation>[]): fc.Arbitrary<Operation[]> =>
  fc.array(fc.oneof(...operations), { minLength: 1, maxLength: 250, size: "max" });

/** Runs a trace on the TypeScript link; returns it line by line as trace_link reads it, and what trace_link should say. */
function runHere(entries: number, trace: readonly Operation[]): { lines: string[]; answers: string[] } {
  const words = new Int32Array(linkBytes(entries) / 4);
  const producer = new LinkProducer(words, entries);
  const consumer = new LinkConsumer(words, entries);
  const held: number[] = [];
  const lines: string[] = [];
  const answers: string[] = [];
  const step = (line: string, result: number, details = ""): void => {
    const outcome = result === AGAIN ? EAGAIN : result === FAULT ? EPROTO : String(result);
    const { live, credits, unpublished } = producer;
    lines.push(line);
    answers.push(
      `${outcome}${details} | live ${live} credits ${credits} unpublished ${unpublished} held ${consumer.held}` +
        ` unreturned ${consumer.unpublished} segment ${hash(words)}`,
    );
  };
  step(`entries ${entries}`, 0);
  for (const operation of trace) {
    switch (operation.name) {
      case "push": {
        const [pool, slot, context, offset, length, channel, source, flags] = operation.fields as Eight;
        const route = (channel & CHANNEL_MASK) | (source << SOURCE_SHIFT);
        step(
          `push ${operation.fields.join(" ")}`,
          producer.push((pool << PLACE_SHIFT) | slot, context, offset, length, route, flags),
        );
        break;
      }
      case "publish":
        step("publish", producer.publish());
        break;
      case "reclaim":
      case "abandon": {
        let home = "";
        const collect: Home = {
          comeHome(place, context, status) {
            home += ` ${place >>> PLACE_SHIFT}:${place & PLACE_MASK}:${context}:${status}`;
          },
        };
        step(`${operation.name} ${operation.max}`, producer[operation.name](collect, operation.max), home);
        break;
      }
      case "ready":
        step("ready", consumer.available() === 0 ? 0 : 1);
        break;
      case "take": {
        const [result, details] = take(consumer, operation.max, held);
        step(`take ${operation.max}`, result, details);
        break;
      }
      case "return": {
        // A consumer gives back what it holds, whatever the other side does.
        if (held.length === 0) break;
        const [entry] = held.splice(operation.pick % held.length, 1);
        consumer.giveBack(entry as number, operation.status);
        step(`return ${entry} ${operation.status}`, 0);
        break;
      }
      case "returns":
        step("returns", consumer.publish());
        break;
      case "poke": {
        const at = wordOf(operation.place, entries);
        words[at] = operation.value | 0;
        step(`poke ${at} ${operation.value >>> 0}`, 0);
      }
    }
  }
  return { lines, answers };
}

/** A burst, as the C link takes it: good descriptors before a bad one are given first. */
function take(consumer: LinkConsumer, max: number, held: number[]): [number, string] {
  const count = Math.min(consumer.available(), max);
  if (count === FAULT) return [FAULT, ""];
  let details = "";
  for (let i = 0; i < count; i++) {
    const at = consumer.position();
    const [word0 = 0, offset = 0, length = 0, word3 = 0] = consumer.words.subarray(at, at + 4);
    const entry = word0 & ENTRY_MASK;
    if (entry >= consumer.entries) return [i === 0 ? FAULT : i, details];
    consumer.advance();
    held.push(entry);
    const pool = (word0 >>> POOL_SHIFT) & POOL_MASK;
    details += ` ${entry}:${pool}:${word0 >>> FLAGS_SHIFT}:${offset >>> 0}:${length >>> 0}:${word3 & CHANNEL_MASK}:${word3 >>> SOURCE_SHIFT}`;
  }
  return [count, details];
}

function wordOf({ area, index }: Place, entries: number): number {
  const ring = LINK.RING / 4;
  const descriptorWords = LINK.DESCRIPTOR_BYTES / 4;
  switch (area) {
    case "forwardTail":
      return LINK.FORWARD_TAIL / 4;
    case "returnTail":
      return LINK.RETURN_TAIL / 4;
    case "descriptors":
      return ring + (index % (entries * descriptorWords));
    case "returns":
      return ring + entries * descriptorWords + (index % entries);
  }
}

function hash(words: Int32Array): string {
  let hash = 0x811c9dc5;
  for (const word of words) hash = Math.imul(hash ^ word, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}

function runInC(lines: readonly string[]): string[] {
  return execFileSync(program, { input: `${lines.join("\n")}\n`, encoding: "utf8" })
    .trimEnd()
    .split("\n");
}

const built = existsSync(program);

test.skipIf(!built)("C and TypeScript agree on every honest trace", { timeout: 60_000 }, () => {
  let delivered = 0;
  fc.assert(
    fc.property(entries, traces(honest), (entries, trace) => {
      const { lines, answers } = runHere(entries, trace);
      expect(runInC(lines)).toEqual(answers);
      expect(answers.some((answer) => answer.startsWith(EPROTO))).toBe(false);
      delivered += lines.filter((line) => line.startsWith("return ")).length;
    }),
    { numRuns: 150 },
  );
  // The traces are not so random that nothing ever gets through.
  expect(delivered).toBeGreaterThan(100);
});

test.skipIf(!built)("C and TypeScript agree on what they refuse of a hostile peer", { timeout: 60_000 }, () => {
  let refused = 0;
  fc.assert(
    fc.property(entries, traces([...honest, ...honest, ...hostile]), (entries, trace) => {
      const { lines, answers } = runHere(entries, trace);
      expect(runInC(lines)).toEqual(answers);
      refused += answers.filter((answer) => answer.startsWith(EPROTO)).length;
    }),
    { numRuns: 250 },
  );
  expect(refused).toBeGreaterThan(100);
});
