// Others beside the pair that is measured, who are open and do nothing: many sessions with streams and channels of their own,
// each with a source and a sink. As a program for those attached to a daemon: crowd.ts SOCKET CHANNELS,STREAMS,SESSIONS;
// session.ts opens them beside an embedded runtime.
import { connect, type Session } from "../../src/index.ts";
import { say } from "../peers/stopwatch.ts";

export interface Crowd {
  readonly channels: number;
  readonly streams: number;
  readonly sessions: number;
}

/** Sessions that open at the same time: answers of the runtime have a deadline. */
const AT_ONCE = 4;
/** Channels that nothing else in this folder uses begin here. */
const FIRST_CHANNEL = 1000;

export function crowdOf(text: string): Crowd {
  const [channels = 0, streams = 0, sessions = 0] = text.split(",").map(Number);
  return { channels, streams, sessions };
}

/** Streams and channels shared out evenly; resolves when all are open. */
export async function openCrowd(
  { channels, streams, sessions }: Crowd,
  open: (name: string) => Promise<Session>,
): Promise<void> {
  const upTo = (part: number, parts: number, all: number): number => Math.round((part * all) / parts);
  const openOne = async (i: number): Promise<void> => {
    const session = await open(`bench-crowd-${i}`);
    for (let s = upTo(i, sessions, streams); s < upTo(i + 1, sessions, streams); s++) {
      const stream = await session.createStream({ name: `crowd-${s}` });
      const opening: Promise<unknown>[] = [];
      for (let c = upTo(s, streams, channels); c < upTo(s + 1, streams, channels); c++) {
        opening.push(stream.createSource(FIRST_CHANNEL + c));
        opening.push(stream.createSink(FIRST_CHANNEL + c, (message) => message.release()));
      }
      await Promise.all(opening);
    }
  };
  let next = 0;
  const openMore = async (): Promise<void> => {
    while (next < sessions) await openOne(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, openMore));
}

if (import.meta.main) {
  const [socket = "", text = ""] = process.argv.slice(2);
  await openCrowd(crowdOf(text), (name) => connect({ socket, name }));
  say("ready");
  setInterval(() => {}, 1 << 30);
}
