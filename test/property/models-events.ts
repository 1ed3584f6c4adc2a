// For the tests of models: what each machine is started with and every event that it can be sent, in the variants that
// matter. A test checks that none is missing. Data only.
import type { AnyStateMachine, EventFrom, InputFrom } from "xstate";
import { datapathMachine } from "../../models/datapath.ts";
import { engineMachine } from "../../models/engine.ts";
import type { Notice, StopEvent } from "../../models/lifecycle.ts";
import { linkMachine } from "../../models/link.ts";
import { peerMachine } from "../../models/peer.ts";
import { runtimeMachine } from "../../models/runtime.ts";
import { sessionMachine } from "../../models/session.ts";
import { sinkMachine } from "../../models/sink.ts";
import { sourceMachine } from "../../models/source.ts";
import { streamMachine } from "../../models/stream.ts";

export interface Fixture {
  readonly name: string;
  readonly machine: AnyStateMachine;
  readonly input: unknown;
  readonly events: readonly { readonly type: string }[];
  /** What a world that does all it is asked sends until a closing machine has ended. */
  readonly polite: readonly { readonly type: string }[];
}

const fixture = <M extends AnyStateMachine>(
  machine: M,
  input: InputFrom<M>,
  events: readonly EventFrom<M>[],
  polite: readonly EventFrom<M>[],
): Fixture => ({ name: machine.id, machine, input, events, polite }) as Fixture;

const notice: Notice = { code: "ESYSTEM", message: "the kernel said no" };
const stops: readonly StopEvent[] = [
  { type: "close" },
  { type: "failed", notice },
  { type: "quarantine", what: "a mapping" },
  { type: "released" },
  { type: "deadline" },
];
const released = { type: "released" } as const;
const none: readonly string[] = [];
const kept: readonly string[] = ["a child's mapping"];

export const fixtures: readonly Fixture[] = [
  fixture(
    runtimeMachine,
    { name: "runtime" },
    [
      ...stops,
      { type: "started" },
      ...(["session", "link", "peer", "engine"] as const).flatMap((kind) => [
        { type: "childAdded" as const, kind },
        { type: "childEnded" as const, kind, quarantined: none },
      ]),
      { type: "childEnded", kind: "engine", quarantined: kept },
      { type: "degraded", what: "udp", notice },
      { type: "restored", what: "udp" },
    ],
    [
      ...(["session", "link", "peer", "engine"] as const).map((kind) => ({
        type: "childEnded" as const,
        kind,
        quarantined: none,
      })),
      released,
    ],
  ),
  fixture(
    sessionMachine,
    { name: "session 1", version: 1, layout: 7 },
    [
      ...stops,
      { type: "hello", version: 1, layout: 7, pid: 42 },
      { type: "hello", version: 2, layout: 7, pid: 42 },
      { type: "hello", version: 1, layout: 8, pid: 42 },
      { type: "admitted" },
      { type: "refused", notice },
      { type: "childAdded", kind: "stream" },
      { type: "childEnded", kind: "stream", quarantined: none },
      { type: "childEnded", kind: "stream", quarantined: kept },
      { type: "violation", notice },
      { type: "told" },
      { type: "died", how: "eof" },
    ],
    [{ type: "told" }, { type: "childEnded", kind: "stream", quarantined: none }, released],
  ),
  fixture(
    streamMachine,
    { name: "stream 1" },
    [
      ...stops,
      { type: "bound", datapath: "xdp", warnings: [] },
      { type: "bound", datapath: "udp", warnings: [notice] },
      { type: "unbindable", notice },
      { type: "rebind", reason: "qos" },
      { type: "datapathLost", datapath: "xdp", notice },
      { type: "datapathLost", datapath: "udp", notice },
      { type: "prepared", datapath: "udp", warnings: [notice] },
      { type: "prepared", datapath: "xdp", warnings: [] },
      { type: "unchanged" },
      { type: "drained" },
      { type: "echoed" },
      { type: "switched" },
      { type: "childAdded", kind: "source" },
      { type: "childEnded", kind: "source", quarantined: none },
      { type: "childAdded", kind: "sink" },
      { type: "childEnded", kind: "sink", quarantined: none },
      { type: "childEnded", kind: "sink", quarantined: kept },
    ],
    [
      { type: "childEnded", kind: "source", quarantined: none },
      { type: "childEnded", kind: "sink", quarantined: none },
      released,
    ],
  ),
  fixture(
    sourceMachine,
    { name: "source 1", channel: 42 },
    [
      ...stops,
      { type: "announced", links: ["a", "b"] },
      { type: "announced", links: [] },
      { type: "linked", link: "a" },
      { type: "linked", link: "b" },
      { type: "unlinked", link: "a" },
      { type: "drained" },
      { type: "outstanding", count: 2 },
      { type: "died", outstanding: 1 },
    ],
    [{ type: "drained" }, released],
  ),
  fixture(
    sinkMachine,
    { name: "sink 1", channel: 42 },
    [
      ...stops,
      { type: "announced", sources: ["a", "b"] },
      { type: "announced", sources: [] },
      { type: "acknowledged", source: "a" },
      { type: "acknowledged", source: "b" },
      { type: "sourceGone", source: "a" },
      { type: "drained" },
      { type: "outstanding", count: 2 },
      { type: "died", outstanding: 1 },
    ],
    [{ type: "drained" }, released],
  ),
  fixture(
    linkMachine,
    { name: "link 1", producer: "session 1", consumer: "session 2", credits: 64 },
    [
      ...stops,
      { type: "allocated" },
      { type: "accepted", end: "producer" },
      { type: "accepted", end: "consumer" },
      { type: "refused", end: "consumer", notice },
      { type: "violation", end: "producer", notice },
      { type: "died", end: "producer" },
      { type: "died", end: "consumer" },
      { type: "reclaimed", abandoned: 3 },
      { type: "returned" },
    ],
    [{ type: "reclaimed", abandoned: 0 }, { type: "returned" }, released],
  ),
  ...(["inline", "dedicated"] as const).map((mode) =>
    fixture(
      engineMachine,
      { name: "engine 1", mode, process: mode === "dedicated" },
      [
        ...stops,
        { type: "started" },
        { type: "leaseTaken" },
        { type: "leaseEnded", why: "silent" },
        { type: "parked" },
        { type: "woke" },
        { type: "overdue", command: "remove link 3" },
        { type: "progressed" },
        { type: "recovered" },
        { type: "stopped" },
        { type: "died", how: "SIGSEGV" },
        { type: "childAdded", kind: "datapath" },
        { type: "childEnded", kind: "datapath", quarantined: none },
        { type: "childEnded", kind: "datapath", quarantined: kept },
      ],
      [{ type: "childEnded", kind: "datapath", quarantined: none }, { type: "stopped" }, released],
    ),
  ),
  fixture(
    datapathMachine,
    {
      name: "udp",
      technology: "udp",
      policy: {
        kind: "permanent",
        backoff: { initialMs: 10, factor: 2, maxMs: 100 },
        intensity: { max: 1, withinMs: 5000 },
      },
    },
    [
      ...stops,
      { type: "available", evidence: ["there"] },
      { type: "unavailable", evidence: ["not there"] },
      { type: "probe" },
      { type: "open" },
      { type: "opened", endpoint: { address: "127.0.0.1", port: 7000, mtu: 1500 } },
      { type: "broke", notice },
      { type: "detached", at: 1000 },
      { type: "lost" },
      { type: "retry" },
    ],
    [{ type: "detached", at: 1000 }, released],
  ),
  fixture(
    peerMachine,
    { name: "peer b" },
    [
      ...stops,
      { type: "hello", incarnation: "one" },
      { type: "hello", incarnation: "two" },
      { type: "heard" },
      { type: "incompatible", notice },
      { type: "farewell" },
    ],
    [released],
  ),
];
