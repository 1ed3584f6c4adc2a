// Configuration: defaults, overlays, and errors that name the field, the value and what is allowed.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { InsaneError } from "../../src/protocol/codes.ts";
import type { EmbedOptions } from "../../src/runtime/api.ts";
import { completeConfig, DEFAULT_CONFIG, loadConfig, strategyOf } from "../../src/runtime/config.ts";
import { createLog, type Fields } from "../../src/runtime/log.ts";

const refusal = (settings: unknown): InsaneError => {
  try {
    completeConfig(settings as EmbedOptions);
  } catch (error) {
    return error as InsaneError;
  }
  throw new Error(`accepted: ${JSON.stringify(settings)}`);
};

describe("a configuration", () => {
  it("is the defaults with what was written laid over them, field by field", () => {
    expect(completeConfig()).toEqual(DEFAULT_CONFIG);
    const config = completeConfig({ name: "x", network: { port: 7, peers: ["127.0.0.1:9"] }, socketMode: 0o660 });
    expect(config).toEqual({
      ...DEFAULT_CONFIG,
      name: "x",
      socketMode: 0o660,
      network: { ...DEFAULT_CONFIG.network, port: 7, peers: ["127.0.0.1:9"] },
    });
    expect(completeConfig({ socketMode: "0640" } as unknown as EmbedOptions).socketMode).toBe(0o640);
    expect(completeConfig({ name: undefined, network: { port: undefined } } as unknown as EmbedOptions)).toEqual(
      DEFAULT_CONFIG,
    );
  });

  it.each([
    [{ network: { port: 70000 } }, "network.port", "70000", "0 to 65535"],
    [{ network: { address: "0.0.0.0" } }, "network.address", '"0.0.0.0"', "IPv4"],
    [
      { network: { address: "10.0.0.1", peers: ["10.0.0.2:1", "10.0.0.3"] } },
      "network.peers.1",
      '"10.0.0.3"',
      "ADDRESS:PORT",
    ],
    [{ network: { peers: ["10.0.0.2:1"] } }, "network.peers.0", '"10.0.0.2:1"', "set network.address"],
    [{ network: { address: "fe80::1%eth0" } }, "network.address", '"fe80::1%eth0"', "only IPv4 is spoken"],
    [{ network: { peers: ["[2001:db8::7]:6174"] } }, "network.peers.0", '"[2001:db8::7]:6174"', "only IPv4 is spoken"],
    [
      { network: { dpdk: { interface: "eth0", address: "2001:db8::7/64" } } },
      "network.dpdk.address",
      '"2001:db8::7/64"',
      "only IPv4 is spoken",
    ],
    [{ network: { dpdk: { gateway: "fe80::1" } } }, "network.dpdk.gateway", '"fe80::1"', "only IPv4 is spoken"],
    [{ network: { silentAfterMs: 1500 } }, "network.silentAfterMs", "1500", "at least twice"],
    [{ socket: "run/x.sock" }, "socket", '"run/x.sock"', "absolute path"],
    [{ socket: `/${"x".repeat(107)}` }, "socket", '"/xxx', "107 bytes"],
    // Another type: what is allowed is said in the same words.
    [{ network: { port: "x" } }, "network.port", '"x"', "a whole number from 0 to 65535"],
    [{ engine: { cpu: "1" } }, "engine.cpu", '"1"', "a whole number from 0 to 1023 (number of a core) or null"],
    [{ network: { enabled: "yes" } }, "network.enabled", '"yes"', "true or false"],
    [{ name: 5 }, "name", "5", "a text of 1 to 200 characters"],
    [{ network: 5 }, "network", "5", "an object"],
    [{ threads: { map: { eth: 1 } } }, "threads.map.eth", "1", "no field of this name"],
    [{ strategy: { rules: [] } }, "strategy.name", "missing", "needed"],
    [{ link: { entries: 1000 } }, "link.entries", "1000", "power of two"],
    [{ engine: { fifoPriority: 10 } }, "engine.fifoPriority", "10", "engine.cpu"],
    [{ engine: { cpu: 0, fifoPriority: 100 } }, "engine.fifoPriority", "100", "1 to 99"],
    [{ engine: { idle: "sleep" } }, "engine.idle", '"sleep"', '"park"'],
    [{ strategy: { name: "s", rules: [{ use: ["tcp"] }] } }, "strategy.rules.0.use.0", '"tcp"', '"udp"'],
    [{ netwrok: {} }, "netwrok", "{}", "there are name, socket"],
    [{ log: { colour: true } }, "log.colour", "true", "there are level, pretty"],
  ])("%j is refused by field, value and what is allowed", (settings, field, value, allowed) => {
    const { code, message, details } = refusal(settings);
    expect(code).toBe("ECONFIG");
    expect(message).toContain(`${field} is ${value}`);
    expect(message).toContain(allowed);
    expect(details["faults"]).toMatchObject([{ field }]);
  });

  it("names all that is wrong at once", () => {
    expect(refusal({ name: "", socketMode: -1, engine: { cpu: 1.5 } }).details["faults"]).toMatchObject([
      { field: "name" },
      { field: "socketMode" },
      { field: "engine.cpu" },
    ]);
  });

  it("is accepted or refused with ECONFIG, whatever it is given", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...Object.keys(DEFAULT_CONFIG)), fc.anything()), (settings) => {
        try {
          completeConfig(settings as EmbedOptions);
        } catch (error) {
          expect((error as InsaneError).code).toBe("ECONFIG");
        }
      }),
      { numRuns: 500 },
    );
  });

  it("may bring a strategy as rules or as code", () => {
    const rules = { name: "s", rules: [{ use: ["udp" as const] }] };
    expect(strategyOf({ strategy: rules }, completeConfig({ strategy: rules }))).toEqual(rules);
    const code = () => ({ technology: null, rule: "none", why: "none" });
    expect(strategyOf({ strategy: code }, completeConfig({ strategy: code }))).toBe(code);
    expect(strategyOf({}, completeConfig())).toBeNull();
  });
});

describe("a configuration file", () => {
  it("is read, and named in what is wrong with it", () => {
    const folder = mkdtempSync(join(tmpdir(), "insane-config-"));
    try {
      const file = join(folder, "config.json");
      const write = (text: string) => writeFileSync(file, text);
      write('{ "name": "from-file" }');
      expect(loadConfig(file).name).toBe("from-file");
      for (const [text, why] of [
        ["{", "is not JSON"],
        ["[]", "one JSON object"],
        ['{"name":5}', "name is 5"],
      ] as const) {
        write(text);
        expect(() => loadConfig(file)).toThrow(why);
        expect(() => loadConfig(file)).toThrow(file);
      }
      expect(() => loadConfig(join(folder, "none.json"))).toThrow("cannot be read");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("the log", () => {
  const logged = (level: "info" | "warn", pretty: boolean): string => {
    let text = "";
    const log = createLog({ level, pretty }, { runtime: "r" } as Fields, {
      write: (line) => {
        text += line;
      },
    });
    log.child({ session: 3 }).warn({ code: "W_FALLBACK_UDP", message: "It fell back.", cure: "Do this." });
    log.error("EINTERNAL", "It broke.");
    log.info("hello");
    return text;
  };

  it("is one JSON object a line, with stable codes", () => {
    const lines = logged("warn", false)
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines).toMatchObject([
      { level: "warn", code: "W_FALLBACK_UDP", msg: "It fell back.", cure: "Do this.", runtime: "r", session: 3 },
      { level: "error", code: "EINTERNAL", msg: "It broke.", runtime: "r" },
    ]);
  });

  it("or readable", () => {
    const lines = logged("info", true).trim().split("\n");
    expect(lines.length).toBe(3);
    expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} .*WARN.* W_FALLBACK_UDP It fell back\. \(Do this\.\)/);
  });
});
