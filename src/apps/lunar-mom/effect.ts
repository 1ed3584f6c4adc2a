// Lunar for Effect: topics as streams and sinks, a Lunar as a scoped resource. In a file of its own, because nothing else of
// Lunar loads Effect.
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import { type ConnectOptions, InsaneError, type Session } from "../../index.ts";
import type { Content, Publisher, PublisherOptions, SubscribeOptions, TopicMessage } from "./api.ts";
import { type Lunar, openLunar } from "./lunar.ts";

const attempt = <A>(f: () => Promise<A>): Effect.Effect<A, InsaneError> =>
  Effect.tryPromise({ try: f, catch: failure });
const failure = (cause: unknown): InsaneError =>
  cause instanceof InsaneError ? cause : new InsaneError("EINTERNAL", String(cause));

/** A Lunar that is closed with the scope. */
export const lunar = (on: Session | ConnectOptions = {}) =>
  Effect.acquireRelease(
    attempt(() => openLunar(on)),
    (opened) => Effect.promise(() => opened.close()),
  );

/** Messages of a topic or pattern; the subscription ends with the stream. A slow consumer loses the oldest (`depth`). */
export const subscribe = (
  on: Lunar,
  pattern: string,
  options: SubscribeOptions = {},
): Stream.Stream<TopicMessage, InsaneError> =>
  Stream.unwrap(
    Effect.acquireRelease(
      attempt(() => on.subscribe(pattern, options)),
      (subscription) => Effect.promise(() => subscription.close()),
    ).pipe(Effect.map((subscription) => Stream.fromAsyncIterable(subscription, failure))),
  );

/** A publisher that is closed with the scope. */
export const publisher = (on: Lunar, topic: string, options: PublisherOptions = {}) =>
  Effect.acquireRelease(
    attempt(() => on.publisher(topic, options)),
    (opened) => Effect.promise(() => opened.close()),
  );

/** Waits while there is no slot or the window is full. */
export const send = (to: Publisher, content: Content): Effect.Effect<number, InsaneError> =>
  Effect.tryPromise({ try: (signal) => to.send(content, { signal }), catch: failure });
