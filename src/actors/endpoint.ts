// What sources and sinks have in common as actors: their numbers, the links they take part in, and the wait for links
// to be ready or over. Which links there are is the broker's business.
import type { LinkActor } from "./link.ts";

export interface EndpointNumbers {
  /** Never used again while the runtime lives. */
  readonly id: number;
  readonly channel: number;
  /** Block of the session's statistics page. */
  readonly stats: number;
}

/** Resolves when every one of these links has taken its present tables over, or has ended. */
export async function settled(links: ReadonlyArray<LinkActor>): Promise<void> {
  await Promise.all(links.map(async (link) => ((await link.confirmed()) ? undefined : link.life.ended)));
}

export const underWay = (links: ReadonlyArray<LinkActor>): number =>
  links.reduce((sum, link) => sum + link.outstanding, 0);

export const abandonedBy = (links: ReadonlyArray<LinkActor>): number =>
  links.reduce((sum, link) => sum + link.abandoned, 0);
