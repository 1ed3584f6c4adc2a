// What carries a stream: the decision in force, the next one, and the steps from one to the other, as its machine asks for
// them. Links are moved by rebinding.ts; this knows which decision they follow.
import type { Notice } from "../../models/lifecycle.ts";
import type { StreamEvent } from "../../models/stream.ts";
import type { DecisionRecord } from "../protocol/control.ts";
import type { NetworkTechnology, Qos } from "../protocol/qos.ts";
import type { RebindWhy } from "../protocol/rebound.ts";
import type { Host, Whose } from "./host.ts";
import { type MoveRecord, Rebinding } from "./rebinding.ts";

/** A stream that could not move looks again after this, then after twice as long, at most the second; ms. */
const AGAIN_FIRST_MS = 500;
const AGAIN_LAST_MS = 8000;

export interface MovePorts {
  readonly host: Host;
  readonly session: number;
  readonly stream: string;
  qos(): Qos;
  whose(): Whose;
  channels(): { readonly sources: ReadonlySet<number>; readonly sinks: ReadonlySet<number> };
  /** The machine's datapath is gone. */
  stranded(): boolean;
  soon(work: () => unknown): void;
  send(event: StreamEvent): void;
  /** The same datapath by another decision. */
  confirmed(decision: DecisionRecord): void;
}

export class StreamMoves {
  readonly rebinding: Rebinding;
  /** In force. */
  decision: DecisionRecord | null = null;
  /** Why it moves next, if somebody has asked for it. */
  asked: Exclude<RebindWhy, "failed" | "appeared"> | null = null;
  readonly #ports: MovePorts;
  #next: DecisionRecord | null = null;
  /** What links follow already, before it is in force. */
  #moving: DecisionRecord | null = null;
  /** Counts what the machine asked for that takes time: an answer to what is over does not count. */
  #step = 0;
  #againMs = AGAIN_FIRST_MS;
  #cancelAgain = (): void => {};
  #over = false;

  constructor(ports: MovePorts) {
    this.#ports = ports;
    this.rebinding = new Rebinding(ports);
  }

  /** Where its links are, or are being opened. */
  get datapath(): NetworkTechnology | null {
    return network(this.#moving ?? this.decision);
  }

  /** At which other hosts are told to reach it. */
  get receives(): NetworkTechnology | null {
    return this.rebinding.receives ?? this.datapath;
  }

  /** What it would be bound to is opened first. A stream that is bound already does not wait: it is told when that is up. */
  bind(): void {
    const { host, whose, qos } = this.#ports;
    const opening = host.prepare(qos(), whose());
    if (opening) this.#ports.soon(() => opening.then(() => this.#answer("bound", this.#decide())));
    else this.#answer("bound", this.#decide());
  }

  prepare(): void {
    this.#within((over) => this.#prepare(over));
  }

  drain(): void {
    this.#within(async (over) => {
      this.#moving = this.#next;
      await this.rebinding.open(network(this.decision), network(this.#moving), true, over);
      if (!over()) this.#ports.send({ type: "drained" });
    });
  }

  mark(): void {
    this.#within(async (over) => {
      await this.rebinding.retire(network(this.decision), network(this.#moving));
      if (!over()) this.#ports.send({ type: "echoed" });
    });
  }

  switch(): void {
    this.#within(async (over) => {
      const from = network(this.decision);
      const failed = this.#moving !== this.#next;
      this.#moving = this.#next;
      const to = network(this.#moving);
      if (failed) await this.rebinding.open(from, to, false, over);
      else {
        await this.rebinding.release(to);
        await this.rebinding.receive(from, to);
      }
      if (!over()) this.#ports.send({ type: "switched" });
    });
  }

  callOff(): void {
    this.#step++;
    this.rebinding.callOff(network(this.decision), network(this.#moving));
    this.#moving = null;
    this.#next = null;
    this.#ports.host.membersChanged();
    this.#lookAgain();
  }

  /** The stream has ended. */
  stop(): void {
    this.#over = true;
    this.#cancelAgain();
  }

  /** The decision that was carried out is in force. The move that brought it about, if it was one. */
  settle(): { readonly decision: DecisionRecord; readonly move: MoveRecord | null } {
    const move = this.decision && this.rebinding.end(network(this.decision), network(this.#moving));
    this.decision = this.#next ?? this.#decide();
    this.#next = null;
    this.#moving = null;
    this.#cancelAgain();
    this.#againMs = AGAIN_FIRST_MS;
    if (move) this.#ports.host.membersChanged();
    return { decision: this.decision, move };
  }

  #decide(): DecisionRecord {
    return this.#ports.host.decide(this.#ports.qos(), this.#ports.whose());
  }

  #answer(type: "bound" | "prepared", decision: DecisionRecord): void {
    this.#next = decision;
    this.#ports.send({ type, datapath: decision.datapath, warnings: decision.warnings });
  }

  /** Does what the machine has asked for, unless it asks for something else before that is done. */
  #within(work: (over: () => boolean) => Promise<void>): void {
    const step = ++this.#step;
    // In a turn of its own: until an action is over the machine still shows the state before.
    this.#ports.soon(() => work(() => this.#step !== step));
  }

  async #prepare(over: () => boolean): Promise<void> {
    const { host, whose, qos, send } = this.#ports;
    const from = network(this.decision);
    const failed = from !== null && this.#ports.stranded();
    if (!failed) await host.prepare(qos(), whose());
    const decision = this.#decide();
    const to = network(decision);
    if (over()) return;
    const why = failed ? "failed" : (this.asked ?? "appeared");
    if (!failed && to === from) {
      this.#confirm(decision);
      send({ type: "unchanged" });
    } else if (failed && to === null) {
      send({ type: "unbindable", notice: NOTHING });
    } else {
      const refusal = failed ? "" : await this.#refusal(from, to, why);
      if (over()) return;
      if (refusal !== "") {
        send({ type: "unbindable", notice: { code: "W_REBIND_FAILED", message: `it stays: ${refusal}` } });
        return;
      }
      this.rebinding.begin(from, to, why);
      this.#answer("prepared", decision);
    }
  }

  /** Why it does not move now, or empty. */
  async #refusal(from: NetworkTechnology | null, to: NetworkTechnology | null, why: RebindWhy): Promise<string> {
    if (!(await this.rebinding.free())) return "the links of its last move have not ended yet";
    if (to === null || (await this.rebinding.reaches(from, to))) return "";
    // What came up by itself is not worth losing anybody for; what was asked for is done.
    return why === "appeared" ? `not everybody that it reaches is reached over ${to}` : "";
  }

  /**
   * What kept it from moving may pass without another word: a peer learns of our new endpoint, links end at last. So it
   * looks now and then whether it could, quietly, and decides again when it can.
   */
  #lookAgain(): void {
    this.#cancelAgain();
    if (this.#over) return;
    this.#cancelAgain = this.#ports.host.world.clock.after(this.#againMs, () => {
      const [from, to] = [network(this.decision), network(this.#decide())];
      if (to === null || to === from) this.#againMs = AGAIN_FIRST_MS;
      else if (this.rebinding.could(from, to)) this.#ports.send({ type: "rebind", reason: "appeared" });
      else this.#lookAgain();
    });
    this.#againMs = Math.min(2 * this.#againMs, AGAIN_LAST_MS);
  }

  #confirm(decision: DecisionRecord): void {
    const what = (of: DecisionRecord | null): string => JSON.stringify([of?.qos, of?.strategy]);
    if (what(decision) === what(this.decision)) return;
    this.decision = decision;
    this.#ports.confirmed(decision);
  }
}

/** Co-located endpoints need no decision. */
export const network = (decision: DecisionRecord | null): NetworkTechnology | null =>
  decision === null || decision.datapath === "shm" ? null : decision.datapath;

const NOTHING: Notice = { code: "W_NO_NETWORK", message: "no datapath can carry it now" };
