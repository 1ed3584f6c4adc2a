// Holds what arrives on a control socket against the contracts of src/protocol/control.ts: every method and
// notification by its schema, all faults at once, each with its path. Nothing unchecked gets past this file.
import * as Result from "effect/Result";
import * as Schema from "effect/Schema";
import * as SchemaIssue from "effect/SchemaIssue";
import { InsaneError } from "../protocol/codes.ts";
import {
  type ClientMethodName,
  ClientMethods,
  ClientNotifications,
  type Params,
  type Result as ResultOf,
  type RuntimeMethodName,
  RuntimeMethods,
} from "../protocol/control.ts";

type Check = (value: unknown) => unknown;

const explain = SchemaIssue.makeFormatterStandardSchemaV1();

function checker(what: string, schema: Schema.Top): Check {
  const decode = Schema.decodeUnknownResult(schema as Schema.Codec<unknown>, {
    errors: "all",
    onExcessProperty: "error",
  });
  return (value) => {
    const result = decode(value);
    if (Result.isSuccess(result)) return result.success;
    const faults = explain(result.failure.issue).issues.map(({ path, message }) => ({
      path: `/${(path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join("/")}`,
      message,
    }));
    const shown = faults.slice(0, 8).map(({ path, message }) => `at ${path}: ${message.replaceAll("\n", " ")}`);
    const more = faults.length > shown.length ? `; and ${faults.length - shown.length} more` : "";
    throw new InsaneError("ESCHEMA", `${what}: ${shown.join("; ")}${more}`, { faults: faults.slice(0, 8) });
  };
}

const table = <T extends object>(of: T, make: (name: string, entry: T[keyof T]) => Check): ReadonlyMap<string, Check> =>
  new Map(Object.entries(of).map(([name, entry]) => [name, make(name, entry)]));

const params = table(ClientMethods, (name, { params }) => checker(`The parameters of ${name}`, params));
const results = table(RuntimeMethods, (name, { result }) => checker(`The answer to ${name}`, result));
const notices = table(ClientNotifications, (name, schema) => checker(`The notification ${name}`, schema));

/** The methods there are, for the error about one that is not there. */
export const METHOD_NAMES: ReadonlyArray<string> = [...params.keys()];

/** A request's parameters, checked. Throws EMETHOD, ESCHEMA. */
export function checkParams<M extends ClientMethodName>(method: M, value: unknown): Params<typeof ClientMethods, M>;
export function checkParams(method: string, value: unknown): unknown;
export function checkParams(method: string, value: unknown): unknown {
  const check = params.get(method);
  if (!check) {
    const known = METHOD_NAMES.join(", ");
    throw new InsaneError("EMETHOD", `There is no method ${JSON.stringify(method)}; there are ${known}.`, { method });
  }
  return check(value);
}

/** What an application answered to a request of ours, checked. Throws ESCHEMA. */
export function checkResult<M extends RuntimeMethodName>(
  method: M,
  value: unknown,
): ResultOf<typeof RuntimeMethods, M> {
  return results.get(method)?.(value) as ResultOf<typeof RuntimeMethods, M>;
}

export type ClientNotification = {
  [K in keyof typeof ClientNotifications]: {
    readonly method: K;
    readonly params: (typeof ClientNotifications)[K]["Type"];
  };
}[keyof typeof ClientNotifications];

/** A notification, checked. Throws EMETHOD, ESCHEMA. */
export function checkNotification(method: string, value: unknown): ClientNotification {
  const check = notices.get(method);
  if (!check) {
    const known = [...notices.keys()].join(", ");
    throw new InsaneError("EMETHOD", `There is no notification ${JSON.stringify(method)}; there are ${known}.`, {
      method,
    });
  }
  return { method, params: check(value) } as ClientNotification;
}
