// Between what a runtime announces and what hello frames carry: subscriptions grouped by stream, technologies that we do
// not know passed over. Pure.
import type { Content } from "../protocol/hello.ts";
import type { NetworkTechnology } from "../protocol/qos.ts";
import { NETWORK_TECHNOLOGIES } from "../qos/strategy.ts";
import type { Announcement } from "./directory.ts";

export function contentOf({ endpoints, technologies, subscriptions }: Announcement): Content {
  const streams = new Map<string, { readonly tag: number; readonly channels: Set<number> }>();
  for (const { tag, stream, channel } of subscriptions) {
    const entry = streams.get(stream);
    if (entry === undefined) streams.set(stream, { tag, channels: new Set([channel]) });
    else entry.channels.add(channel);
  }
  return {
    endpoints,
    technologies,
    streams: [...streams].map(([stream, { tag, channels }]) => [tag, stream, [...channels]]),
  };
}

export const announcementOf = ({ endpoints, technologies, streams }: Content): Announcement => ({
  endpoints: endpoints.flatMap(({ technology, ...at }) => (isKnown(technology) ? [{ technology, ...at }] : [])),
  technologies: technologies.filter(isKnown),
  subscriptions: streams.flatMap(([tag, stream, channels]) => channels.map((channel) => ({ tag, stream, channel }))),
});

const isKnown = (technology: string): technology is NetworkTechnology =>
  (NETWORK_TECHNOLOGIES as ReadonlyArray<string>).includes(technology);
