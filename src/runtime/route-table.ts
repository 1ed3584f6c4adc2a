// The routes of one peer: which channels of which tags it gets, under which name of the stream. Pure.

/** Tag -> channel -> name of the stream. */
export type RouteTable = Map<number, Map<number, string>>;

export interface Route {
  readonly tag: number;
  readonly channel: number;
  readonly stream: string;
}

export function addRoute(routes: RouteTable, { tag, channel, stream }: Route): void {
  const channels = routes.get(tag);
  if (channels) channels.set(channel, stream);
  else routes.set(tag, new Map([[channel, stream]]));
}

export function removeRoute(routes: RouteTable, { tag, channel }: Route): void {
  const channels = routes.get(tag);
  channels?.delete(channel);
  if (channels?.size === 0) routes.delete(tag);
}

export const hasRoute = (routes: RouteTable, { tag, channel }: Route): boolean =>
  routes.get(tag)?.has(channel) === true;

export function* routesIn(routes: RouteTable): IterableIterator<Route> {
  for (const [tag, channels] of routes) for (const [channel, stream] of channels) yield { tag, channel, stream };
}

/** What is in one table and not in the other. */
export function missing(from: RouteTable, other: RouteTable): Route[] {
  const found: Route[] = [];
  for (const [tag, channels] of from) {
    const there = other.get(tag);
    for (const [channel, stream] of channels) if (!there?.has(channel)) found.push({ tag, channel, stream });
  }
  return found;
}
