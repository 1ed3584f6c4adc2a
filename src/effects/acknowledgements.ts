// The commands of one engine that wait for their acknowledgement: each resolves, is refused, or is overdue. It knows nothing
// of how they travel.
import type { EngineEvent } from "../native/engine-events.ts";
import { InsaneError } from "../protocol/codes.ts";
import * as native from "./native.ts";

/** How long an engine may take to acknowledge a command, ms. */
export const COMMAND_MS = 1000;

type Acknowledgement = Extract<EngineEvent, { type: "ack" }>;

interface Waiting {
  readonly what: string;
  readonly resolve: (value: number) => void;
  readonly reject: (error: InsaneError) => void;
  readonly timer: NodeJS.Timeout;
}

export interface AcknowledgementPorts {
  readonly name: string;
  /** Takes what has arrived and not been looked at yet. */
  pump(): void;
  /** No acknowledgement within COMMAND_MS. */
  overdue(command: string): void;
  /** One that had been given up came after all. */
  late(): void;
}

/** Nothing that the engine had is touched any more. */
export const stopped = (name: string, what: string): InsaneError =>
  new InsaneError("ECLOSED", `${name} has stopped (${what}).`);

/** It was to end and did not: whatever it had stays as it is. */
export const hangs = (name: string, what: string): InsaneError =>
  new InsaneError("ETIMEDOUT", `${name} does not end (${what}).`);

export class Acknowledgements {
  readonly #ports: AcknowledgementPorts;
  readonly #waiting = new Map<number, Waiting>();
  readonly #abandoned = new Set<number>();

  constructor(ports: AcknowledgementPorts) {
    this.#ports = ports;
  }

  /** Resolves with the acknowledgement's value; rejects when it is refused or overdue. */
  of(sequence: number, what: string): Promise<number> {
    const { name, pump, overdue } = this.#ports;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        // It may have been answered while this thread was busy.
        pump();
        if (!this.#waiting.delete(sequence)) return;
        this.#abandoned.add(sequence);
        overdue(what);
        reject(new InsaneError("ETIMEDOUT", `${name} did not acknowledge ${what} within ${COMMAND_MS} ms.`));
      }, COMMAND_MS);
      this.#waiting.set(sequence, { what, resolve, reject, timer });
    });
  }

  settle({ command: sequence, status, value }: Acknowledgement): void {
    const command = this.#waiting.get(sequence);
    if (!command) {
      if (this.#abandoned.delete(sequence)) this.#ports.late();
      return;
    }
    this.#waiting.delete(sequence);
    clearTimeout(command.timer);
    if (status === 0) command.resolve(value);
    else {
      const why = `${this.#ports.name} refused ${command.what}: ${native.errnoName(status)}`;
      command.reject(new InsaneError("ESYSTEM", why, { command: command.what, errno: status, value }));
    }
  }

  /** None will come. `over`: the engine has ended and touches nothing any more; else it hangs, and may touch all it has. */
  end(over: boolean): void {
    for (const { reject, timer, what } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(over ? stopped(this.#ports.name, what) : hangs(this.#ports.name, what));
    }
    this.#waiting.clear();
  }
}
