// Shared memory as scoped effects: memfds, their mappings, doorbell pairs. What an engine may still touch can be kept
// aside instead of being released; then it stays as it is for good, and the owner of the scope is told.
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { Shared } from "../native/engine-commands.ts";
import type { InsaneError } from "../protocol/codes.ts";
import { attempt } from "./attempt.ts";
import * as native from "./native.ts";
import { Quarantine } from "./quarantine.ts";

type Scoped<A> = Effect.Effect<A, InsaneError, Scope.Scope>;
type Guarded<A> = Effect.Effect<A, InsaneError, Scope.Scope | Quarantine>;

/** Something that may have to outlive its scope. */
export interface Keepable {
  /** Do not release this: somebody may still touch it. */
  keepAside(): void;
}

/** A file descriptor that closes with the scope. */
export const descriptor = (doing: string, open: () => number): Scoped<number> =>
  Effect.acquireRelease(attempt(doing, open), (fd) => Effect.sync(() => native.close(fd)));

/** Closes what was never anybody's. */
export const closeDescriptor = (fd: number): void => native.close(fd);

export interface Segment {
  readonly fd: number;
  readonly bytes: number;
}

/** A memfd of `bytes`, sealed against a change of its size. */
export const segment = (name: string, bytes: number): Scoped<Segment> =>
  descriptor(`reserve ${bytes} bytes of shared memory for ${name}`, () => native.segmentCreate(name, bytes)).pipe(
    Effect.map((fd) => ({ fd, bytes })),
  );

/** From now on nobody can map it writable; mappings that are there stay. */
export const sealWriters = (fd: number): Effect.Effect<void, InsaneError> =>
  attempt("seal a segment against further writers", () => native.sealFutureWrite(fd));

/** From now on nobody can add a seal. */
export const sealSeals = (fd: number): Effect.Effect<void, InsaneError> =>
  attempt("seal a segment as it is", () => native.seal(fd));

export interface Mapping extends Keepable, Shared {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
}

/** Maps a whole segment. The views become empty with the scope: nothing can touch memory that is gone. */
export const mapping = (name: string, of: Segment, writable: boolean): Guarded<Mapping> =>
  Effect.gen(function* () {
    const quarantine = yield* Quarantine;
    let kept = false;
    return yield* Effect.acquireRelease(
      attempt(`map ${name}`, () => {
        const mapped = native.map(of.fd, of.bytes, writable);
        return {
          ...mapped,
          fd: of.fd,
          keepAside: () => {
            kept = true;
          },
        };
      }),
      (mapped) =>
        Effect.sync(() => {
          if (kept) quarantine.keep(`the mapping of ${name} (${of.bytes} bytes)`);
          else mapped.unmap();
        }),
    );
  });

/** Both ends of a doorbell; each wakes whoever holds the other. */
export interface BellPair extends Keepable {
  readonly ends: readonly [number, number];
}

export const bellPair = (name: string): Guarded<BellPair> =>
  Effect.gen(function* () {
    const quarantine = yield* Quarantine;
    let kept = false;
    return yield* Effect.acquireRelease(
      attempt(`make the doorbell of ${name}`, () => {
        const ends = native.bellPair();
        return {
          ends,
          keepAside: () => {
            kept = true;
          },
        };
      }),
      ({ ends }) =>
        Effect.sync(() => {
          if (kept) quarantine.keep(`the doorbell of ${name}`);
          else for (const end of ends) native.close(end);
        }),
    );
  });
