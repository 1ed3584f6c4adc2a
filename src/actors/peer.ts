// A peer made live: the machine of models/peer.ts, its deadline and its end. What is said to the peer and what is kept of
// it is the directory's; this actor only says when.
import { peerMachine } from "../../models/peer.ts";
import { stateText } from "./inspection.ts";
import { Life, type World } from "./life.ts";

/** What the machine wants done, by whoever holds the socket. */
export interface PeerPort {
  sendHello(): void;
  /** It is alive: messages may go to it. */
  resumeSending(): void;
  stopSending(): void;
  /** It is another incarnation than before. */
  resetPeer(): void;
  /** Milliseconds since an engine heard of it; Infinity: none ever did. */
  heardMs(): number;
}

export interface PeerTiming {
  readonly helloIntervalMs: number;
  readonly silentAfterMs: number;
}

export class PeerActor {
  readonly life: Life<typeof peerMachine>;
  readonly #timing: PeerTiming;
  #heardMs = (): number => Number.POSITIVE_INFINITY;

  constructor(world: World, endpoint: string, timing: PeerTiming) {
    this.life = new Life(world, `peer ${endpoint}`, () => {
      // Its engines speak for it when its control plane is held up, and ours listen when this one is.
      if (this.#heardMs() < timing.silentAfterMs) this.heard();
    });
    this.#timing = timing;
  }

  /** Greets at once. */
  start(port: PeerPort): void {
    const { helloIntervalMs, silentAfterMs } = this.#timing;
    this.#heardMs = () => port.heardMs();
    const machine = peerMachine.provide({
      actions: {
        ...this.life.actions,
        sendHello: () => port.sendHello(),
        resumeSending: () => port.resumeSending(),
        stopSending: () => port.stopSending(),
        resetPeer: () => port.resetPeer(),
      },
    });
    this.life.start(machine, "peer", {
      name: this.life.name,
      helloMs: helloIntervalMs,
      tolerance: Math.max(2, Math.round(silentAfterMs / helloIntervalMs)),
    });
  }

  get state(): string {
    return stateText(this.life.actor.getSnapshot().value);
  }

  /** A complete announcement of this incarnation is there, or was and is current. */
  hello(incarnation: string): void {
    this.life.send({ type: "hello", incarnation });
  }

  /** Another frame of the incarnation that it has. */
  heard(): void {
    this.life.send({ type: "heard" });
  }

  farewell(): void {
    this.life.send({ type: "farewell" });
  }

  incompatible(message: string): void {
    this.life.send({ type: "incompatible", notice: { code: "W_PEER_REFUSED", message } });
  }

  /** Resolves when its scope has exited. */
  async close(): Promise<void> {
    this.life.send({ type: "close" });
    await this.life.ended;
  }
}
