// Emits one record of the control stream, if there is room for it and the session still lives; the next one says the same
// or better, so none is waited for.
import { InsaneError, type Source } from "../../index.ts";
import { RECORD_BYTES } from "./control-records.ts";

export function emitRecord(source: Source, write: (memory: Uint8Array, offset: number) => void): void {
  try {
    using buffer = source.tryGetBuffer(RECORD_BYTES);
    if (buffer === null) return;
    write(buffer.memory, buffer.offset);
    source.tryEmit(buffer);
  } catch (error) {
    if (!(error instanceof InsaneError && error.code === "ECLOSED")) throw error;
  }
}
