// Between what a runtime announces and what hello frames carry: subscriptions grouped by stream and endpoint, lanes and
// technologies that we do not know passed over. Pure.
import type { Content, HelloNames, HelloStream } from "../protocol/hello.ts";
import { isLane, type Lane } from "../protocol/lanes.ts";
import type { NetworkTechnology } from "../protocol/qos.ts";
import { NETWORK_TECHNOLOGIES } from "../qos/strategy.ts";
import type { Announcement, ChannelName } from "./directory.ts";

/** Where a subscription's messages go when its entry does not say. */
const DEFAULT: Lane = "udp";

export function contentOf({ endpoints, technologies, subscriptions, names = [] }: Announcement): Content {
  const streams = new Map<
    string,
    { readonly tag: number; readonly name: string; readonly at: Lane; readonly channels: Set<number> }
  >();
  for (const { tag, stream, channel, lane } of subscriptions) {
    const key = `${lane} ${stream}`;
    const entry = streams.get(key);
    if (entry === undefined) streams.set(key, { tag, name: stream, at: lane, channels: new Set([channel]) });
    else entry.channels.add(channel);
  }
  return {
    names: namesOf(names),
    endpoints,
    technologies,
    streams: [...streams.values()].map(
      ({ tag, name, at, channels }): HelloStream =>
        at === DEFAULT ? [tag, name, [...channels]] : [tag, name, [...channels], at],
    ),
  };
}

function namesOf(names: ReadonlyArray<ChannelName>): HelloNames[] {
  const streams = new Map<string, Array<HelloNames[1][number]>>();
  for (const { stream, channel, name, sources, sinks } of names) {
    const list = streams.get(stream) ?? [];
    streams.set(stream, list);
    list.push([channel, name, (sources ? 1 : 0) | (sinks ? 2 : 0)]);
  }
  return [...streams];
}

export const announcementOf = ({ endpoints, technologies, streams, names = [] }: Content): Announcement => ({
  names: names.flatMap(([stream, channels]) =>
    channels.map(([channel, name, roles]) => ({
      stream,
      channel,
      name,
      sources: (roles & 1) !== 0,
      sinks: (roles & 2) !== 0,
    })),
  ),
  endpoints: endpoints.flatMap(({ lane, ...at }) => (isLane(lane) ? [{ lane, ...at }] : [])),
  technologies: technologies.filter(isKnown),
  subscriptions: streams.flatMap(([tag, stream, channels, lane = DEFAULT]) =>
    isLane(lane) ? channels.map((channel) => ({ tag, stream, channel, lane })) : [],
  ),
});

const isKnown = (technology: string): technology is NetworkTechnology =>
  (NETWORK_TECHNOLOGIES as ReadonlyArray<string>).includes(technology);
