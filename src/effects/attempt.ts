// Native calls as effects: what the kernel or the engine refuses is a typed failure (InsaneError), everything else a
// defect. The only place where an exception of the binding becomes a value.
import * as Effect from "effect/Effect";
import { InsaneError } from "../protocol/codes.ts";

/** Runs a synchronous native call. `doing` completes the sentence "The runtime could not ...". */
export const attempt = <A>(doing: string, call: () => A): Effect.Effect<A, InsaneError> =>
  Effect.try({ try: call, catch: (cause) => refused(doing, cause) });

export function refused(doing: string, cause: unknown): InsaneError {
  if (cause instanceof InsaneError) {
    return new InsaneError(cause.code, `Could not ${doing}: ${cause.message}`, cause.details);
  }
  const message = cause instanceof Error ? cause.message : String(cause);
  return new InsaneError("ESYSTEM", `Could not ${doing}: ${message}`);
}
