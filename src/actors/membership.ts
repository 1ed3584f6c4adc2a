// A session's part in one stream as the plan of links sees it: its sources and sinks that are not closing, and where it is
// bound. As long as nothing of that changes it is the same object, by which the planner knows that there is nothing to do.
import type { NetworkTechnology } from "../protocol/qos.ts";
import type { PlannedMember } from "../runtime/plan.ts";
import type { SinkActor } from "./sink.ts";
import type { SourceActor } from "./source.ts";

type Steps = Pick<PlannedMember, "keep" | "held">;

export class Membership {
  readonly #session: number;
  readonly #stream: string;
  readonly #sources: ReadonlyMap<number, SourceActor>;
  readonly #sinks: ReadonlyMap<number, SinkActor>;
  #member: PlannedMember | null = null;
  #steps: Steps | null = null;

  constructor(
    session: number,
    stream: string,
    sources: ReadonlyMap<number, SourceActor>,
    sinks: ReadonlyMap<number, SinkActor>,
  ) {
    this.#session = session;
    this.#stream = stream;
    this.#sources = sources;
    this.#sinks = sinks;
  }

  /** A source or sink has come, gone or begun to close. */
  changed(): void {
    this.#member = null;
  }

  /** `steps` is another object whenever it says something else. */
  at(datapath: NetworkTechnology | null, steps: Steps): PlannedMember {
    if (this.#member?.datapath === datapath && this.#steps === steps) return this.#member;
    this.#steps = steps;
    this.#member = {
      session: this.#session,
      stream: this.#stream,
      datapath,
      ...steps,
      sources: [...this.#sources.values()]
        .filter((source) => !source.closing)
        .map(({ spec: { id, index, channel } }) => ({ id, index, channel })),
      sinks: [...this.#sinks.values()]
        .filter((sink) => !sink.closing)
        .map(({ spec: { channel, policy } }) => ({ channel, block: policy.kind === "block", policy })),
    };
    return this.#member;
  }
}
