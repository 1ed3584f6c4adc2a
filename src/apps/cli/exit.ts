// The exit codes of `insane` (docs/cli.md), and which error ends in which. Never renumbered.
import { InsaneError } from "../../protocol/codes.ts";

export const EXIT = {
  OK: 0,
  /** It was tried and did not work. */
  FAILURE: 1,
  /** The command line is wrong. */
  USAGE: 2,
  /** No runtime answers on the socket. */
  NO_RUNTIME: 3,
  /** A configuration field is wrong. */
  CONFIG: 4,
  /** Another runtime holds the socket, or another program the port. */
  IN_USE: 5,
  /** A deadline passed before what was waited for came. */
  TIMED_OUT: 6,
} as const;

/** A mistake on the command line. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  /** The command whose help has the answer, or "". */
  readonly command: string;
  constructor(message: string, command = "") {
    super(message);
    this.command = command;
  }
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.USAGE;
  if (!(error instanceof InsaneError)) return EXIT.FAILURE;
  switch (error.code) {
    case "ENORUNTIME":
      return EXIT.NO_RUNTIME;
    case "ECONFIG":
      return EXIT.CONFIG;
    case "EADDRINUSE":
      return EXIT.IN_USE;
    case "ETIMEDOUT":
      return EXIT.TIMED_OUT;
    default:
      return EXIT.FAILURE;
  }
}
