// The link in TypeScript and the link in C are one algorithm: on any trace of operations, hostile words in the segment
// included, both answer the same and leave the same words behind. The C side is test/native/trace_link.c.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { expect, test } from "vitest";
import { AGAIN, FAULT, type Home, LinkConsumer, LinkProducer } from "../../src/client/link.ts";
import { LINK, linkBytes } from "../../src/protocol/layout.ts";

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
// Slots and contexts are the producer's own and stay below 2^31 there.
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
  fc.record({ name: fc.constant("push"), fields: fc.tuple(u32, own, own, u32, u32, u32, u32, u32) }),
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
        const [pool, slot, context, offset, length, channel, source, flags] = operation.fields as [
          ...Parameters<LinkProducer["push"]>,
        ];
        step(
          `push ${operation.fields.join(" ")}`,
          producer.push(pool, slot, context, offset, length, channel, source, flags),
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
          comeHome(pool, slot, context, status) {
            home += ` ${pool}:${slot}:${context}:${status}`;
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
    if (consumer.next() === FAULT) return [i === 0 ? FAULT : i, details];
    held.push(consumer.entry);
    const { entry, pool, flags, offset, length, channel, source } = consumer;
    details += ` ${entry}:${pool}:${flags}:${offset}:${length}:${channel}:${source}`;
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
