// Fields of the configuration that say in words what they allow, and the gate schedule, which is made of them.
import * as Schema from "effect/Schema";
import { MAX_CYCLE_NS, MAX_ENTRIES } from "../qos/gates.ts";
import { parseEndpoint } from "./endpoint.ts";

/** A whole number between two bounds, said in words where it is not one. */
export const whole = (minimum: number, maximum: number, unit = "") => {
  const expected = `a whole number from ${minimum} to ${maximum}${unit}`;
  // By its identifier an error names a value of another type; by `expected` one that is not allowed.
  return Schema.Number.annotate({ identifier: expected }).check(
    Schema.makeFilter((value: number) => Number.isInteger(value) && value >= minimum && value <= maximum, {
      expected,
      identifier: expected,
    }),
  );
};
export const powerOfTwo = (minimum: number, maximum: number) => {
  const expected = `a power of two from ${minimum} to ${maximum}`;
  return Schema.Number.annotate({ identifier: expected }).check(
    Schema.makeFilter((n: number) => n >= minimum && n <= maximum && Number.isInteger(Math.log2(n)), {
      expected,
      identifier: expected,
    }),
  );
};
export const text = (expected: string, test: (value: string) => boolean) =>
  Schema.String.annotate({ identifier: expected }).check(Schema.makeFilter(test, { expected, identifier: expected }));
export const flag = Schema.Boolean.annotate({ identifier: "true or false" });
export const interfaceName = text("the name of an interface, as `ip link` lists it", (name) =>
  /^[^\s/,=]{1,15}$/.test(name),
);
export const hostAddress = text("an IPv4 address of one host, such as 10.0.0.11", (address) => {
  const first = Number.parseInt(address, 10);
  return parseEndpoint(`${address}:1`) !== null && first !== 0 && first !== 127 && first < 224;
});

const baseTime = "a time of CLOCK_TAI in ns: a whole number, beyond 2^53 as text of up to 19 digits";
export const Schedule = Schema.Struct({
  lineRateMbps: whole(1, 1_000_000, " Mbit/s"),
  baseTime: Schema.Union([
    whole(0, Number.MAX_SAFE_INTEGER, " ns"),
    text(baseTime, (value) => /^\d{1,18}$|^[1-8]\d{18}$/.test(value)),
  ]),
  cycleNs: whole(1, MAX_CYCLE_NS, " ns"),
  marginNs: whole(0, MAX_CYCLE_NS, " ns"),
  entries: Schema.Array(
    Schema.Struct({
      gates: whole(0, 255, " (bit c: the gate of class c is open)"),
      intervalNs: whole(1, MAX_CYCLE_NS, " ns"),
    }),
  ).check(
    Schema.makeFilter((entries) => entries.length > 0 && entries.length <= MAX_ENTRIES, {
      expected: `1 to ${MAX_ENTRIES} entries`,
    }),
  ),
});

/** Of one technology. */
export const faults = Schema.optionalKey(
  text('faults of one datapath, such as "loss=0.01,seed=7"', (value) =>
    /^[a-z_]+=[^\s,]+(,[a-z_]+=[^\s,]+)*$/.test(value),
  ),
);
