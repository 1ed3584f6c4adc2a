// One turn after another: control frames, returned credits, new messages; and between turns, sleep. A loop that spins
// calls poll; otherwise the event loop does when a doorbell rings. The one place that knows all links of a session.
import type { Platform } from "../native/platform.ts";
import { CONTROL_PAGE, PARKED_PAGE } from "../protocol/layout.ts";
import { Changed } from "./changed.ts";
import type { Clock } from "./clock.ts";
import { CONSUMER_BURST, type ConsumerEnd } from "./consumer-end.ts";
import type { ControlConnection } from "./control.ts";
import { throwLater } from "./emitter.ts";
import type { ProducerEnd } from "./producer-end.ts";
import type { SinkHost, SinkQueue } from "./sink.ts";
import type { Sleeper } from "./sleeper.ts";
import type { EmittingSource } from "./source.ts";
import { BURST, type SourceHost } from "./source-host.ts";
import { FEW, Sweep } from "./sweep.ts";

/** An engine in this process that the application's own thread polls (architecture, section 4, Engine). */
export interface InlineEngine {
  /** May be another object the next time. */
  readonly turns: {
    /** Sends what waits. */
    send(): void;
    /** Sends and receives. */
    turn(): void;
    /** The same, looking for longer when nothing comes. */
    linger(): void;
  };
  /** This thread goes to sleep: the standby serves. */
  release(): void;
}

const CONTROL_TAIL = CONTROL_PAGE.CONTROL_TAIL >>> 2;
/** Out on a link before poll looks for returns by itself. */
const RECLAIM_AT = 64;
/** Turns in a row that find something before one is made to do what can wait. */
const BUSY_TURNS = 64;
/** Looks in `wait` before it gives the core away, and how often it does that before it sleeps. */
const LOOKS = 256;
const YIELDS = 16;

export class Pump implements SourceHost, SinkHost {
  readonly clock: Clock;
  readonly producers: ProducerEnd[] = [];
  readonly consumers: ConsumerEnd[] = [];
  readonly sources = new Set<EmittingSource>();
  readonly sinks = new Set<SinkQueue>();
  private readonly changed = new Changed();
  /** Promises, drains and the like that need credits to come home. */
  creditWaiters = 0;
  /** Callback sinks, promises and drains that need messages. */
  messageWaiters = 0;
  burst: number = BURST.NONE;
  /** Links are to be closed when they have drained: `drained` is called after each turn in which that may have happened. */
  draining = false;
  drained: () => void = () => {};
  private readonly platform: Platform;
  private readonly page: Int32Array;
  private readonly control: ControlConnection;
  private readonly sleeper: Sleeper;
  private readonly inline: InlineEngine | undefined;
  private controlSeen = 0;
  /** Turns since the last one in which the house was kept. */
  private busyTurns = 0;
  /** The last look found nothing, and nobody on this host can have something for us: the next may take longer. */
  private lingers = false;
  /** The last turn left messages on a link. */
  private behind = false;
  private busy = false;
  private scheduled = false;
  private microtask = false;
  private starved = false;
  /** Links with returns that were given outside their turn: the first `givenCount`, as emptying an array costs more. */
  private readonly given: ConsumerEnd[] = [];
  private givenCount = 0;
  private readonly sweep = new Sweep();
  private thrownErrors: unknown[] = [];
  private stopped = false;

  constructor(
    platform: Platform,
    page: Int32Array,
    control: ControlConnection,
    sleeper: Sleeper,
    clock: Clock,
    inline: InlineEngine | undefined,
  ) {
    this.platform = platform;
    this.page = page;
    this.control = control;
    this.sleeper = sleeper;
    this.clock = clock;
    this.inline = inline;
  }

  start(): void {
    this.sleeper.watch(() => this.woken());
  }

  /** What a user's callback threw is thrown on from here, after the turn is settled. */
  poll(): number {
    return this.turn(true);
  }

  /** `take`: new messages as well; not when nobody waits for them but a loop that polls, which would miss their coming. */
  private turn(take: boolean): number {
    if (this.busy || this.stopped) return 0;
    this.busy = true;
    try {
      return this.look(take);
    } finally {
      this.busy = false;
      if (this.thrownErrors.length > 0) this.rethrow();
    }
  }

  private look(take: boolean): number {
    if (this.inline !== undefined) {
      // More than a burst is here already: what else has come keeps better in the network's buffers.
      if (this.behind && take) this.inline.turns.send();
      else if (this.lingers) this.inline.turns.linger();
      else this.inline.turns.turn();
    }
    if (this.page[CONTROL_TAIL] !== this.controlSeen) this.lookAtControl();
    const { consumers, changed } = this;
    let count = 0;
    if (take) {
      this.behind = false;
      if (consumers.length > FEW) count = this.sweep.take(consumers);
      else
        for (let i = 0; i < consumers.length; i++) {
          const taken = (consumers[i] as ConsumerEnd).drain();
          if (taken === CONSUMER_BURST) this.behind = true;
          count += taken;
        }
    }
    if (changed.callbacks) this.handOut();
    let returned = 0;
    if (count === 0 || this.starved || this.creditWaiters > 0 || ++this.busyTurns > BUSY_TURNS) {
      returned = this.keepHouse(count === 0);
    } else this.lingers = false;
    this.busy = false;
    if (returned > 0) this.creditsCame();
    if (this.microtask === false && (this.givenCount > 0 || changed.waiting)) this.returnsWaiting();
    // Whatever was delivered: what nobody wanted any more went back without being counted.
    if (this.draining) this.drained();
    return count;
  }

  private handOut(): void {
    this.changed.handOut();
    this.publishGiven();
  }

  private hasDirect(): boolean {
    const { consumers } = this;
    for (let i = 0; i < consumers.length; i++) if ((consumers[i] as ConsumerEnd).local) return true;
    return false;
  }

  /** What can wait for a turn that found nothing, or for the last of many. Returns how many credits came home. */
  private keepHouse(idle: boolean): number {
    const waiting = this.creditWaiters > 0 || this.starved;
    this.busyTurns = 0;
    let returned = 0;
    for (const end of this.producers) {
      const { live } = end.link;
      if (live >= RECLAIM_AT || (live > 0 && (waiting || (idle && end.ownEngine)))) returned += end.reclaim();
    }
    // Somebody on this host may have something for us at any time.
    this.lingers = idle && this.inline !== undefined && !this.hasDirect();
    this.publishGiven();
    if (this.changed.waiting) this.changed.write();
    return returned;
  }

  /** Takes control frames and what has come back on a stream's links, whatever the turn. */
  catchUp(stream: number): void {
    if (this.page[CONTROL_TAIL] !== this.controlSeen) this.lookAtControl();
    let returned = 0;
    for (const end of this.producers) if (end.stream === stream) returned += end.reclaim();
    if (returned > 0) this.creditsCame();
  }

  linksOf(stream: number): number {
    return this.producers.reduce((count, end) => count + (end.stream === stream ? 1 : 0), 0);
  }

  /** A source had to say EAGAIN: turns look for returns until some came. */
  starve(): void {
    this.starved = true;
  }

  lookAtControl(): void {
    if (this.stopped) return;
    // The word is read before the socket: a frame sent in between is seen by the next look.
    this.controlSeen = this.page[CONTROL_TAIL] ?? 0;
    this.control.receive();
  }

  beginBurst(timed: boolean): void {
    if (this.page[CONTROL_TAIL] !== this.controlSeen) this.lookAtControl();
    if (timed) this.clock.stamp();
    this.burst = timed ? BURST.TIMED : BURST.BEGUN;
  }

  awaitCredits(change: 1 | -1): void {
    this.creditWaiters += change;
    if (change > 0) this.needWake();
  }
  awaitMessages(change: 1 | -1): void {
    this.messageWaiters += change;
    if (change > 0) this.needWake();
  }

  sendNow(): void {
    this.inline?.turns.send();
  }
  get pollsEngine(): boolean {
    return this.inline !== undefined;
  }

  sourceChanged(source: EmittingSource): void {
    this.changed.addSource(source);
    if (!this.busy) this.returnsWaiting();
  }

  private creditsCame(): void {
    if (!this.starved && this.creditWaiters === 0) return;
    this.starved = false;
    for (const source of this.sources) source.turned();
  }

  /** A callback sink that its owner has by the next turn. */
  activate(sink: SinkQueue): void {
    sink.activate();
    if (!sink.stale) this.changed.add(sink);
    this.schedule();
  }

  sinkChanged(sink: SinkQueue): void {
    this.changed.add(sink);
    if (!this.busy) this.returnsWaiting();
  }

  /** Something was released between turns, on an end that is not `listed` yet: it becomes visible when the caller's turn of the event loop ends, or at the next poll. */
  returnsGiven(end: ConsumerEnd): void {
    end.listed = true;
    this.given[this.givenCount++] = end;
    this.returnsWaiting();
  }
  private publishGiven(): void {
    const { given, givenCount } = this;
    for (let i = 0; i < givenCount; i++) {
      const end = given[i] as ConsumerEnd;
      end.listed = false;
      end.publishReturns();
    }
    this.givenCount = 0;
  }
  private returnsWaiting(): void {
    if (this.microtask || this.busy) return;
    this.microtask = true;
    queueMicrotask(this.publishReturns);
  }
  private readonly publishReturns = (): void => {
    this.microtask = false;
    if (this.busy) return;
    this.publishGiven();
    this.changed.write();
    if (this.draining) this.drained();
  };

  thrown(error: unknown): void {
    this.thrownErrors.push(error);
  }
  private rethrow(): void {
    const [first, ...others] = this.thrownErrors;
    this.thrownErrors = [];
    for (const error of others) throwLater(error);
    throw first;
  }

  // Sleep.

  /** Somebody waits for something from now on: unless a turn is coming anyway, lies down for it. */
  needWake(): void {
    if (this.scheduled || this.stopped) return;
    if (this.busy) this.schedule();
    else this.rest();
  }

  private woken(): void {
    if (this.stopped) return;
    this.sleeper.getUp();
    if (this.sleeper.listen(0)) this.lookAtControl();
    this.run();
  }

  private readonly run = (): void => {
    this.scheduled = false;
    if (this.stopped) return;
    let count = 0;
    try {
      count = this.turn(this.messageWaiters > 0);
    } finally {
      // Where something came there may be more, for which nobody should have to ring. Looking on for longer was slower.
      if (count === 0 || this.wishes() === 0) this.rest();
      else this.schedule();
    }
  };

  private schedule(): void {
    if (this.scheduled || this.stopped) return;
    this.scheduled = true;
    setImmediate(this.run);
  }

  private wishes(): number {
    return (
      (this.messageWaiters > 0 ? PARKED_PAGE.WISH_MESSAGES : 0) |
      (this.creditWaiters > 0 ? PARKED_PAGE.WISH_CREDITS : 0)
    );
  }

  /** Lies down, looks once more, and gets up again if there is something. */
  private rest(): void {
    const wishes = this.wishes();
    this.publishGiven();
    this.inline?.release();
    if (wishes === 0) {
      this.sleeper.getUp();
      return;
    }
    this.sleeper.lieDown(wishes);
    if (!this.something(wishes)) return;
    this.sleeper.getUp();
    this.schedule();
  }

  /** Whether a turn would find what is wished for. */
  private something(wishes: number): boolean {
    if (this.page[CONTROL_TAIL] !== this.controlSeen) return true;
    if ((wishes & PARKED_PAGE.WISH_MESSAGES) !== 0) {
      for (const end of this.consumers) if (end.fault === "" && end.link.available() !== 0) return true;
    }
    if ((wishes & PARKED_PAGE.WISH_CREDITS) !== 0) {
      for (const end of this.producers) if (end.state !== "closed" && end.link.returned()) return true;
    }
    return false;
  }

  /** See Session.wait. */
  wait(timeoutMs: number): boolean {
    if (this.busy || this.stopped) return false;
    this.publishGiven();
    for (const sink of this.sinks) if (sink.queued > 0) return true;
    const wishes = PARKED_PAGE.WISH_MESSAGES | (this.starved ? PARKED_PAGE.WISH_CREDITS : 0);
    const { raw } = this.platform;
    for (let round = 0; round < YIELDS; round++) {
      for (let look = 0; look < LOOKS; look++) {
        this.inline?.turns.turn();
        if (this.something(wishes)) return true;
        if (this.inline !== undefined) break;
      }
      raw.yield();
    }
    const until = performance.now() + timeoutMs;
    let found = false;
    this.inline?.release();
    for (;;) {
      this.sleeper.lieDown(wishes);
      found = this.something(wishes);
      if (found) break;
      const left = Math.ceil(until - performance.now());
      if (left <= 0) break;
      // A frame that has not been counted yet, or the runtime's end: poll takes it.
      if (this.sleeper.listen(left)) {
        this.controlSeen = ~(this.page[CONTROL_TAIL] ?? 0);
        found = true;
        break;
      }
    }
    this.sleeper.getUp();
    if (this.wishes() !== 0) this.schedule();
    return found;
  }

  stop(): void {
    this.stopped = true;
  }
}
