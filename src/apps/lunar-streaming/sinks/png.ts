// Frames as PNG files in a folder, named by their numbers. Raw or encoded frames alike; the file appears whole or not at all.
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { loadSharp, rawInput, rawOf } from "../encoding.ts";
import { messageOf, StreamingError } from "../errors.ts";
import type { Frame } from "../frame.ts";

/** Writes a frame, which must not be released before this has resolved. Returns the file. Throws EDECODE, EENCODE. */
export async function savePng(frame: Frame, folder: string): Promise<string> {
  const file = join(folder, `frame-${String(frame.number).padStart(8, "0")}.png`);
  const { format, bytes } = await rawOf(frame);
  const sharp = await loadSharp();
  const unfinished = `${file}.part`;
  try {
    await mkdir(folder, { recursive: true });
    await sharp(bytes, rawInput(format)).png({ compressionLevel: 3 }).toFile(unfinished);
    await rename(unfinished, file);
  } catch (cause) {
    // Where the folder is none there is nothing to remove either.
    await rm(unfinished, { force: true }).catch(() => {});
    throw new StreamingError("EENCODE", `${file} cannot be written: ${messageOf(cause)}.`, { file });
  }
  return file;
}
