// Topics and patterns of Lunar MoM: what is allowed, what matches, which stream and channel it is.
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  channelOf,
  checkPattern,
  checkTopic,
  laneOf,
  MAX_TOPIC_BYTES,
  matches,
  streamOf,
} from "../../src/apps/lunar-mom/topics.ts";

const level = fc.stringMatching(/^[a-z0-9 é_.-]{1,6}$/);
const topic = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join("/"));
const why = (act: () => void): unknown => {
  try {
    act();
    return null;
  } catch (error) {
    return (error as { readonly details: { readonly why: string } }).details.why;
  }
};

describe("a topic", () => {
  it.each([
    ["", "empty"],
    ["x".repeat(MAX_TOPIC_BYTES + 1), "too-long"],
    ["é".repeat(MAX_TOPIC_BYTES / 2 + 1), "too-long"],
    ["a//b", "level"],
    ["/a", "level"],
    ["a/", "level"],
    ["a/+", "wildcard"],
    ["#", "wildcard"],
    ["$ask/a", "reserved"],
    ["a\nb", "character"],
  ])("%j is refused: %s", (text, reason) => {
    expect(why(() => checkTopic(text))).toBe(reason);
    if (reason !== "wildcard") expect(why(() => checkPattern(text))).toBe(reason);
  });

  it.each(["a", "a/b", "+", "#", "a/+/b", "a/#", "+/#", "x".repeat(MAX_TOPIC_BYTES)])("%j is a pattern", (text) => {
    expect(why(() => checkPattern(text))).toBeNull();
  });
  it.each(["a+", "a/#/b", "#/a", "a/b#"])("%j is no pattern", (text) => {
    expect(why(() => checkPattern(text))).toBe("wildcard");
  });

  it("has the channel that FNV-1a gives", () => {
    expect(channelOf("a")).toBe(0xe40c292c);
    expect(channelOf("foobar")).toBe(0xbf9cf968);
  });
});

describe("a pattern", () => {
  it("matches as the regular expression does that it stands for", () => {
    const wild = fc
      .array(fc.oneof(level, fc.constant("+")), { minLength: 1, maxLength: 4 })
      .chain((levels) => fc.boolean().map((rest) => (rest ? [...levels, "#"] : levels).join("/")));
    const expression = (pattern: string): RegExp =>
      new RegExp(
        `^${pattern.replaceAll(".", "\\.").replace(/^#$/, ".*").replaceAll("+", "[^/]+").replace(/\/#$/, "(/.*)?")}$`,
      );
    fc.assert(
      fc.property(wild, topic, (pattern, name) => {
        expect(matches(pattern, name)).toBe(expression(pattern).test(name));
      }),
    );
  });
  it("made of the topic's own levels matches it", () => {
    fc.assert(
      fc.property(topic, fc.array(fc.boolean()), (name, wild) => {
        const pattern = name
          .split("/")
          .map((part, i) => (wild[i] ? "+" : part))
          .join("/");
        expect(matches(pattern, name) && matches("#", name) && matches(`${name}/#`, name)).toBe(true);
      }),
    );
  });
  it("does not reach Lunar's own topics", () => {
    expect(matches("#", "$ask/a") || matches("+/a", "$ask/a")).toBe(false);
  });
});

describe("the name of a lane's stream", () => {
  it("says all of the lane", () => {
    const lane = fc.record({
      kept: fc.boolean(),
      qos: fc.record(
        {
          acceleration: fc.constantFrom("none" as const, "fast" as const),
          consumption: fc.constantFrom("low" as const, "high" as const),
          timeSensitivity: fc.constantFrom("best-effort" as const, "time-sensitive" as const),
          maxMessage: fc.integer({ min: 1, max: 134_217_728 }),
          trafficClass: fc.integer({ min: 1, max: 7 }),
        },
        { requiredKeys: ["acceleration", "consumption", "timeSensitivity", "maxMessage"] },
      ),
    });
    fc.assert(
      fc.property(lane, (one) => {
        expect(laneOf(streamOf(one))).toEqual(one);
      }),
    );
  });
  it("is no other stream's", () => {
    expect(laneOf("qos/none/low/best-effort/65536")).toBeNull();
  });
});
