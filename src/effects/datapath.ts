// An open datapath as a scoped effect: its endpoint, and its place on an engine. It is closed only after the engine has
// acknowledged that it let go of it; without that word it stays open for good.
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { Endpoint } from "../native/engine.ts";
import { encodeGateList, type GateList } from "../native/gate-list.ts";
import { InsaneError } from "../protocol/codes.ts";
import { refused } from "./attempt.ts";
import type { EngineResource, OpenDatapath } from "./engine.ts";
import { Quarantine } from "./quarantine.ts";

export interface DatapathResource {
  readonly id: number;
  readonly endpoint: Endpoint;
  counters(): Record<string, number>;
}

export interface DatapathSpec {
  /** Number of this instance on its engine, never used again. */
  readonly id: number;
  readonly technology: string;
  readonly options: string;
  readonly at: { readonly address: string; readonly port: number };
  /** By which it sends; the MTU is its own. */
  readonly schedule?: Omit<GateList, "mtu">;
}

export const datapathResource = (
  engine: EngineResource,
  spec: DatapathSpec,
): Effect.Effect<DatapathResource, InsaneError, Scope.Scope | Quarantine> =>
  Effect.gen(function* () {
    const { id, technology, options, at } = spec;
    const quarantine = yield* Quarantine;
    let kept = false;
    const opened = yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: () => engine.open(technology, options, at),
        catch: (cause) => notOpened(spec, cause),
      }),
      (datapath) =>
        Effect.sync(() => {
          if (kept) quarantine.keep(`datapath ${technology} ${id}`);
          else datapath.close();
        }),
    );
    const order = (
      what: string,
      send: (datapath: OpenDatapath) => Promise<number>,
    ): Effect.Effect<number, InsaneError> =>
      Effect.tryPromise({ try: () => send(opened), catch: (cause) => refused(what, cause) });
    yield* Effect.acquireRelease(
      order(`hand datapath ${technology} to its engine`, ({ handle }) =>
        engine.command(`the datapath ${technology}`, (native, self) => native.addDatapath(self, id, handle)),
      ),
      () =>
        order(`take datapath ${technology} from its engine`, () =>
          engine.command(`the removal of datapath ${technology}`, (native, self) => native.removeDatapath(self, id)),
        ).pipe(
          // An engine that has been joined touches nothing any more, and what another process has is gone with that.
          Effect.catch((error) =>
            Effect.sync(() => {
              kept = error.code !== "ECLOSED" && engine.pid === null;
            }),
          ),
        ),
    );
    if (spec.schedule) {
      const list = encodeGateList({ ...spec.schedule, mtu: opened.endpoint.mtu });
      yield* order(`give datapath ${technology} its schedule`, () =>
        engine.command(`the schedule of ${technology}`, (native, self) => native.setSchedule(self, id, list)),
      );
    }
    return {
      id,
      endpoint: opened.endpoint,
      counters: () => opened.counters(),
    } satisfies DatapathResource;
  });

/** What an operator can mend by himself, in his words; everything else as the system said it. */
function notOpened({ technology, at }: DatapathSpec, cause: unknown): InsaneError {
  const errno = cause instanceof InsaneError ? cause.details["errno"] : undefined;
  const where = `${at.address}:${at.port}`;
  if (errno === "EADDRINUSE") {
    const cure = "`ss -ulnp` names it. Choose another port in the configuration (`insane up --listen ADDRESS:PORT`).";
    const message = `UDP ${where}, for data over ${technology}, is taken by another program, perhaps another runtime: ${cure}`;
    return new InsaneError("EADDRINUSE", message, { ...at, errno });
  }
  if (errno === "EADDRNOTAVAIL") {
    const message = `No interface of this host has the address ${at.address}, for data over ${technology}: name one that \`ip address\` shows.`;
    return new InsaneError("ECONFIG", message, { ...at, errno });
  }
  return refused(`open datapath ${technology} at ${where}`, cause);
}
