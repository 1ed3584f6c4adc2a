// Keeps the parts of an answer that is too large for one frame until the session has fetched them, or asks for another.
import type { SessionActor } from "../actors/session.ts";
import { InsaneError } from "../protocol/codes.ts";
import { inParts } from "../protocol/parts.ts";

const kept = new WeakMap<SessionActor, { readonly method: string; readonly parts: ReadonlyArray<unknown> }>();

/** Part 0 makes the answer anew; the others are of the one made last. Throws ENOENT when there is no such part. */
export function answerPart(session: SessionActor, method: string, part: number, make: () => unknown): unknown {
  if (part === 0) kept.set(session, { method, parts: inParts(make()) });
  const answer = kept.get(session);
  if (answer?.method !== method || part >= answer.parts.length) {
    throw new InsaneError("ENOENT", `There is no part ${part} of an answer to ${method}: ask for part 0 first.`, {
      method,
      part,
    });
  }
  if (part === answer.parts.length - 1) kept.delete(session);
  return answer.parts[part];
}
