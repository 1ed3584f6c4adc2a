// What a source says to buffers and sizes that it cannot take: what is wrong, and what to do.
import { InsaneError } from "../protocol/codes.ts";
import type { Slot, StreamPools } from "./pools.ts";

/** Of a number of bytes for which there is no slot. */
export function wrongSize(bytes: number, limit: number): InsaneError {
  if (bytes > limit) {
    return new InsaneError(
      "EMSGSIZE",
      `${bytes} bytes; this stream carries messages of ${limit} bytes at most. Create the stream with a larger maxMessage.`,
      { bytes, limit },
    );
  }
  return new InsaneError("EVALUE", `getBuffer takes a number of bytes from 0 to ${limit}, not ${bytes}.`, { limit });
}

/** Of what was given to `emit` and is not a buffer on loan from `pools`. */
export function wrongBuffer(slot: Slot, pools: StreamPools): InsaneError {
  if (slot.pools === undefined) {
    return new InsaneError("EVALUE", "emit takes a buffer from getBuffer; copy your bytes into one.");
  }
  if (slot.pools !== pools) return new InsaneError("EVALUE", "This buffer belongs to another stream or session.");
  if (slot.limit < 0) {
    return new InsaneError("ERELEASED", "This buffer was emitted or disposed already; get a new one.");
  }
  return new InsaneError(
    "EVALUE",
    `The length was set to ${slot.length}; ${slot.limit} bytes were asked for, and it can only be lowered.`,
    { limit: slot.limit },
  );
}
