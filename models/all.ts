// Every machine with its title, in the order in which a reader should meet them. For diagrams and tests; code that
// needs one machine imports that machine.
import type { AnyStateMachine } from "xstate";
import { datapathMachine } from "./datapath.ts";
import { engineMachine } from "./engine.ts";
import { linkMachine } from "./link.ts";
import { peerMachine } from "./peer.ts";
import { runtimeMachine } from "./runtime.ts";
import { sessionMachine } from "./session.ts";
import { sinkMachine } from "./sink.ts";
import { sourceMachine } from "./source.ts";
import { streamMachine } from "./stream.ts";

export interface TitledMachine {
  readonly name: string;
  readonly title: string;
  readonly machine: AnyStateMachine;
}

export const machines: readonly TitledMachine[] = [
  { name: "runtime", title: "Runtime", machine: runtimeMachine },
  { name: "session", title: "Session", machine: sessionMachine },
  { name: "stream", title: "Stream", machine: streamMachine },
  { name: "source", title: "Source", machine: sourceMachine },
  { name: "sink", title: "Sink", machine: sinkMachine },
  { name: "link", title: "Link", machine: linkMachine },
  { name: "engine", title: "Engine", machine: engineMachine },
  { name: "datapath", title: "Datapath", machine: datapathMachine },
  { name: "peer", title: "Peer", machine: peerMachine },
];
