// The pool from which an engine delivers to applications of one foreign trust domain, as a scoped effect: it is unmapped
// only after the engine has acknowledged that it let go of it, or is over.
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { InsaneError } from "../protocol/codes.ts";
import type { PoolRecord } from "../protocol/control.ts";
import { refused } from "./attempt.ts";
import type { Command, EngineResource } from "./engine.ts";
import type { Quarantine } from "./quarantine.ts";
import { mapping, type Segment, sealWriters, segment } from "./segment.ts";

/** Most slots of such a pool; memory that is never used is never there. */
const SLOTS = 256;

export interface DomainPool {
  readonly info: PoolRecord;
  readonly segment: Segment;
}

/** `id`: its number on that engine, never used again. `label`: "user 1000, group 1000". */
export const domainPool = (
  engine: EngineResource,
  { id, label }: { readonly id: number; readonly label: string },
): Effect.Effect<DomainPool, InsaneError, Scope.Scope | Quarantine> =>
  Effect.gen(function* () {
    const { info } = engine.receivePool;
    const slots = Math.min(info.slots, SLOTS);
    const name = `the copies for ${label}`;
    const memory = yield* segment(name, slots * info.stride);
    // An engine in another process maps it itself.
    const mapped = yield* mapping(name, memory, engine.pid === null);
    const order = (what: string, send: Command): Effect.Effect<number, InsaneError> =>
      Effect.tryPromise({ try: () => engine.command(what, send), catch: (cause) => refused(what, cause) });
    yield* Effect.acquireRelease(
      order(name, (api, self) => api.addDomain(self, id, mapped)),
      () =>
        order(`the removal of ${name}`, (api, self) => api.removeDomain(self, id)).pipe(
          // An engine that has been joined touches nothing any more, and what another process has is gone with that.
          Effect.catch((error) =>
            Effect.sync(() => {
              if (error.code !== "ECLOSED" && engine.pid === null) mapped.keepAside();
            }),
          ),
        ),
    );
    // Before anybody else sees it: only the engine, which has it by now, ever writes it.
    yield* sealWriters(memory.fd);
    return { info: { ...info, bytes: memory.bytes, slots }, segment: memory } satisfies DomainPool;
  });
