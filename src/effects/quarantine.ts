// What a finalizer could not release: it stays mapped or open for good, and whoever owns the scope is told. Every effect
// of this folder that may have to keep something aside asks for this service.
import * as Context from "effect/Context";

export class Quarantine extends Context.Service<
  Quarantine,
  {
    /** Notes that `what` is kept aside. Called from finalizers. */
    keep(what: string): void;
  }
>()("insane/effects/Quarantine") {}
