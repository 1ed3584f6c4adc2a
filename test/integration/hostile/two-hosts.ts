// Two daemons that know each other and exchange innocent messages over UDP, in both directions, all the while; a third
// host, which does not exist, is listed by the first; an innocent application there listens where attackers speak.
import { eventually, type TestProcess } from "../runtime/processes.ts";
import { Arena } from "./arena.ts";
import type { Daemon } from "./daemon.ts";
import { freePorts } from "./hostile-peer.ts";

export const CALM = "calm";
export const VICTIM_CHANNEL = 66;
/** A channel that is wanted there and offered by attackers here. */
export const WANTED_CHANNEL = 9;

export interface TwoHosts {
  readonly arena: Arena;
  readonly here: Daemon;
  readonly there: Daemon;
  readonly victim: TestProcess;
  /** The hello port of the host that does not exist. */
  readonly third: number;
}

export async function twoHosts(): Promise<TwoHosts> {
  const arena = new Arena();
  const [a = 0, b = 0, third = 0] = await freePorts(3);
  const network = { enabled: true, address: "127.0.0.1", dataPort: 0, helloIntervalMs: 100, silentAfterMs: 1000 };
  const listed = (...ports: number[]): string[] => ports.map((port) => `127.0.0.1:${port}`);
  const here = await arena.daemon({ name: "here", network: { ...network, port: a, peers: listed(b, third) } });
  const there = await arena.daemon({ name: "there", network: { ...network, port: b, peers: listed(a) } });
  const victim = arena.start("../hostile/victim.ts", "victim", [here.socket, CALM, String(VICTIM_CHANNEL)]);
  await victim.until((words) => words["connected"] === true, "it is connected");
  arena.others = 1;
  await arena.pair("out", here, there, CALM, 1);
  await arena.pair("back", there, here, CALM, 2);
  const wanting = await arena.application(there, "wanting");
  await wanting.call("sink", { channel: WANTED_CHANNEL, stream: CALM, policy: { kind: "drop-newest" } });
  arena.extra.set(there, 1);
  await arena.begin();
  return { arena, here, there, victim, third };
}

/** The end of a test of two hosts: nothing is held, everything has arrived. */
export async function endOf({ arena, victim }: TwoHosts): Promise<void> {
  await eventually(
    async () => ((await victim.call("release"))["result"] as { held: number }).held,
    (held) => held === 0,
  );
  await arena.end();
}
