// Hello frames: what is encoded comes back, every page fits a datagram, and no bytes whatever make the decoder throw.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  assemble,
  type Content,
  decodeHello,
  encodeHello,
  HELLO_LIMITS,
  type Hello,
  paginate,
} from "../../src/protocol/hello.ts";
import { HELLO, WIRE, WIRE_TYPE } from "../../src/protocol/wire.ts";

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const byteLength = (text: string): number => Buffer.byteLength(text);
const anyName = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 200 })
  .filter((name) => /^[^\p{Cc}]{1,200}$/u.test(name) && byteLength(name) <= 200 && name.isWellFormed());
const anyId = fc.stringMatching(/^[\x21-\x7e]{1,64}$/);
const anyEndpoint = fc.record(
  {
    lane: fc.constantFrom("udp", "xdp", "dpdk", "rdma", "something-new"),
    address: fc.ipV4(),
    port: fc.integer({ min: 1, max: 65535 }),
    mtu: fc.integer({ min: 576, max: 65535 }),
    trains: fc.boolean(),
  },
  { requiredKeys: ["lane", "address", "port", "mtu"] },
);
const anyStream = fc.tuple(u32, anyName, fc.uniqueArray(u32, { minLength: 1, maxLength: 600 }));
const anyRoles = fc.integer({ min: 1, max: 3 });
const anyNames = fc.tuple(anyName, fc.array(fc.tuple(u32, anyName, anyRoles), { minLength: 1, maxLength: 40 }));
const anyContent: fc.Arbitrary<Content> = fc.record({
  endpoints: fc.array(anyEndpoint, { maxLength: HELLO_LIMITS.ENDPOINTS }),
  technologies: fc.array(fc.constantFrom("udp", "xdp", "dpdk", "rdma"), { maxLength: HELLO_LIMITS.ENDPOINTS }),
  streams: fc.uniqueArray(anyStream, { maxLength: 30, selector: ([tag, name]) => `${tag} ${name}` }),
  names: fc.uniqueArray(anyNames, { maxLength: 5, selector: ([stream]) => stream }),
});
const anySeen = fc.option(
  fc.record({
    id: anyId,
    version: fc.integer({ min: 1, max: 0xffffffff }),
    missing: fc.array(fc.integer({ min: 0, max: HELLO_LIMITS.PAGES - 1 }), { maxLength: HELLO_LIMITS.MISSING }),
  }),
);
const anyHellos = fc
  .record({
    id: anyId,
    name: anyName,
    version: fc.integer({ min: 1, max: 0xffffffff }),
    seen: anySeen,
    content: anyContent,
  })
  .map(({ content, ...rest }): { readonly content: Content; readonly hellos: Hello[] } => {
    const { pages } = paginate(content);
    return { content, hellos: pages.map((page) => ({ ...rest, pages: pages.length, page, bye: false })) };
  });

const wire = (hello: Hello): Uint8Array => encodeHello(hello, 7n, 1_700_000_000_000_000_000n);
/** What an announcement says, in an order of its own. */
const facts = ({ streams, names = [] }: Content): string[] =>
  [
    ...streams.flatMap(([tag, name, channels]) => channels.map((channel) => `${tag} ${name} ${channel}`)),
    ...names.flatMap(([stream, channels]) => channels.map((channel) => `${stream}: ${channel.join(" ")}`)),
  ].sort();

describe("a hello", () => {
  it("comes back as it was sent, its name cut to what a frame has room for", () => {
    fc.assert(
      fc.property(anyHellos, ({ hellos }) => {
        for (const hello of hellos) {
          const { hello: back } = decodeHello(wire(hello));
          expect({ ...back, name: "" }).toEqual({ ...hello, name: "" });
          expect(hello.name.startsWith(back?.name ?? "?")).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("is bare, or one page of an announcement that says all and fits the datagram", () => {
    fc.assert(
      fc.property(anyHellos, ({ content, hellos }) => {
        for (const hello of hellos) expect(wire(hello).length).toBeLessThanOrEqual(HELLO.MAX_BYTES);
        const back = assemble(hellos.map(({ page }) => page!));
        expect(facts(back)).toEqual(facts(content));
        expect(back.endpoints).toEqual(content.endpoints);
      }),
      { numRuns: 60 },
    );
  });

  it("fits with every field at its longest", () => {
    const content: Content = {
      endpoints: Array.from({ length: HELLO_LIMITS.ENDPOINTS }, () => ({
        lane: "a".repeat(16),
        address: "255.255.255.255",
        port: 65535,
        mtu: 65535,
        trains: false,
      })),
      technologies: Array.from({ length: HELLO_LIMITS.ENDPOINTS }, () => "b".repeat(16)),
      streams: Array.from({ length: 40 }, (_, i) => [
        0xffffffff - i,
        "ü".repeat(100),
        Array.from({ length: 400 }, (_, channel) => 0xffffffff - channel),
      ]),
      names: Array.from({ length: 20 }, (_, i) => [
        "ü".repeat(100 - i),
        Array.from({ length: 20 }, (_, channel): [number, string, number] => [
          0xffffffff - channel,
          "ö".repeat(100),
          3,
        ]),
      ]),
    };
    const { pages, omitted } = paginate(content);
    expect(omitted).toBe(0);
    for (const page of pages) {
      const seen = {
        id: "i".repeat(64),
        version: 0xffffffff,
        missing: Array.from({ length: HELLO_LIMITS.MISSING }, () => 1023),
      };
      const name = "ä".repeat(200);
      const frame = wire({ id: "j".repeat(64), name, version: 0xffffffff, pages: 1024, seen, page, bye: true });
      expect(decodeHello(frame).fault).toBeNull();
    }
  });

  it("leaves out what is beyond the limit of pages, and counts it", () => {
    const channels = Array.from({ length: 300_000 }, (_, channel) => channel);
    const { pages, omitted } = paginate({ endpoints: [], technologies: [], streams: [[1, "wide", channels]] });
    expect(pages.length).toBe(HELLO_LIMITS.PAGES);
    expect(assemble(pages).streams[0]?.[2].length).toBe(300_000 - omitted);
    expect(omitted).toBeGreaterThan(0);
  });
});

describe("the decoder", () => {
  const frames = anyHellos.map(({ hellos }) => wire(hellos[0]!));

  it("refuses every truncation", () => {
    fc.assert(
      fc.property(frames, fc.nat(), (frame, at) => {
        expect(decodeHello(frame.subarray(0, at % frame.length)).fault).not.toBeNull();
      }),
    );
  });

  it("never throws on a mutated frame, and what it accepts is within its limits", () => {
    const mutations = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(frames, mutations, (frame, changes) => {
        const mutated = Uint8Array.from(frame);
        for (const [at, byte] of changes) mutated[at % mutated.length] = byte;
        const { hello } = decodeHello(mutated);
        if (hello === null) return;
        expect(hello.pages).toBeLessThanOrEqual(HELLO_LIMITS.PAGES);
        if (hello.page !== null) expect(hello.page.index).toBeLessThan(hello.pages);
      }),
      { numRuns: 1000 },
    );
  });

  it("never throws on noise, with or without a header that is right", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1500 }), fc.boolean(), (noise, dressed) => {
        const frame = Uint8Array.from(noise);
        if (dressed && frame.length >= WIRE.HEADER) {
          const view = new DataView(frame.buffer);
          view.setUint16(WIRE.MAGIC, WIRE.MAGIC_VALUE);
          view.setUint8(WIRE.VERSION, WIRE.VERSION_VALUE);
          view.setUint8(WIRE.TYPE, WIRE_TYPE.HELLO);
          view.setUint16(WIRE.FLAGS, 0);
          view.setUint32(WIRE.LENGTH, frame.length - WIRE.HEADER);
        }
        expect(decodeHello(frame).fault).not.toBeNull();
      }),
      { numRuns: 1000 },
    );
  });

  it("says what is wrong", () => {
    const hello: Hello = { id: "a", name: "b", version: 1, pages: 1, seen: null, page: null, bye: false };
    const frame = wire(hello);
    const changed = (at: number, byte: number) => {
      const copy = Uint8Array.from(frame);
      copy[at] = byte;
      return decodeHello(copy).fault;
    };
    expect(changed(WIRE.MAGIC, 0)).toBe("magic");
    expect(changed(WIRE.VERSION, 2)).toBe("version");
    expect(changed(WIRE.TYPE, WIRE_TYPE.DATA)).toBe("type");
    expect(changed(WIRE.FLAGS, 0x80)).toBe("flags");
    expect(changed(WIRE.LENGTH + 3, 0)).toBe("length");
    expect(decodeHello(frame.subarray(0, 10)).fault).toBe("short");
    expect(decodeHello(wire({ ...hello, version: 0 }))).toMatchObject({
      fault: "body",
      why: expect.stringContaining("version"),
    });
    const at = { lane: "xdp", address: "10.0.0.1", port: 1, mtu: 1500 };
    for (const trains of [0, "no", null]) {
      const page = { index: 0, endpoints: [{ ...at, trains }], technologies: [], streams: [] };
      expect(decodeHello(wire({ ...hello, page } as unknown as Hello))).toMatchObject({
        fault: "body",
        why: expect.stringContaining("trains"),
      });
    }
  });
});
