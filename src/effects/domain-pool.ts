// Pools that an engine writes and applications read, as scoped effects: that of copies for one foreign trust domain, and
// that in which the large messages of a stream are put together. Unmapped only after the engine has acknowledged that it
// let go of it, or is over.
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { InsaneError } from "../protocol/codes.ts";
import type { PoolRecord } from "../protocol/control.ts";
import { poolBytes, slotStride } from "../protocol/layout.ts";
import { refused } from "./attempt.ts";
import type { Command, EngineResource } from "./engine.ts";
import type { Quarantine } from "./quarantine.ts";
import { type Mapping, mapping, type Segment, sealWriters, segment } from "./segment.ts";

/** Most slots of a pool of copies; memory that is never used is never there. */
const SLOTS = 256;
/** Of large messages: as many as the engine takes, and so many that one peer leaves one to the others. */
const LARGE_SLOTS = { fewest: 3, most: 64 };

export interface DomainPool {
  readonly info: PoolRecord;
  readonly segment: Segment;
}

interface Orders {
  add(memory: Mapping): Command;
  readonly remove: Command;
}

const enginePool = (
  engine: EngineResource,
  name: string,
  info: PoolRecord,
  { add, remove }: Orders,
): Effect.Effect<DomainPool, InsaneError, Scope.Scope | Quarantine> =>
  Effect.gen(function* () {
    const memory = yield* segment(name, info.bytes);
    // An engine in another process maps it itself.
    const mapped = yield* mapping(name, memory, engine.pid === null);
    const order = (what: string, send: Command): Effect.Effect<number, InsaneError> =>
      Effect.tryPromise({ try: () => engine.command(what, send), catch: (cause) => refused(what, cause) });
    yield* Effect.acquireRelease(order(name, add(mapped)), () =>
      order(`the removal of ${name}`, remove).pipe(
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
    return { info, segment: memory } satisfies DomainPool;
  });

/** `id`: its number on that engine, never used again. `label`: "user 1000, group 1000". */
export const domainPool = (
  engine: EngineResource,
  { id, label }: { readonly id: number; readonly label: string },
): Effect.Effect<DomainPool, InsaneError, Scope.Scope | Quarantine> => {
  const { info } = engine.receivePool;
  const slots = Math.min(info.slots, SLOTS);
  return enginePool(
    engine,
    `the copies for ${label}`,
    { ...info, bytes: slots * info.stride, slots },
    {
      add: (memory) => (api, self) => api.addDomain(self, id, memory),
      remove: (api, self) => api.removeDomain(self, id),
    },
  );
};

/** How the large messages of a stream share `bytes` of memory; as pool 1 of a link, beside the one for small messages. */
export function assemblyRecord(maxMessage: number, bytes: number): PoolRecord {
  const stride = slotStride(maxMessage);
  const slots = Math.max(LARGE_SLOTS.fewest, Math.min(LARGE_SLOTS.most, Math.floor(bytes / stride)));
  return { pool: 1, bytes: poolBytes(slots, stride), stride, payload: maxMessage, slots };
}

/** `id`: its number on that engine, never used again. `label`: "stream camera". */
export const assemblyPool = (
  engine: EngineResource,
  info: PoolRecord,
  { id, label }: { readonly id: number; readonly label: string },
): Effect.Effect<DomainPool, InsaneError, Scope.Scope | Quarantine> =>
  enginePool(engine, `the large messages of ${label}`, info, {
    add: (memory) => (api, self) => api.addAssembly(self, id, memory, info.payload),
    remove: (api, self) => api.removeAssembly(self, id),
  });
