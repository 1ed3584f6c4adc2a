// Frames from picture files: one, or all of a folder in the order of their names, once or again and again. A file that
// cannot be decoded costs its frame, not the stream.
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { decode, loadSharp, type Picture } from "../encoding.ts";
import { messageOf, StreamingError } from "../errors.ts";
import { type FrameFormat, frameBytes } from "../frame-header.ts";
import type { Filled, FrameSource } from "../frame-source.ts";

const NAMES = /\.(png|jpe?g|webp|avif|gif|tiff?|svg)$/i;
/** Decoded pictures are kept while all of them take no more. */
const KEPT_BYTES = 256 * 1024 * 1024;

export interface ImagesOptions {
  /** Again from the first after the last. */
  readonly repeat?: boolean;
}

/** Errors: ESOURCE (no such file, no picture in the folder), EDECODE (none of them can be decoded). */
export async function images(path: string, { repeat = false }: ImagesOptions = {}): Promise<FrameSource> {
  const files = await filesOf(path);
  const formats = await Promise.all(files.map(formatOf));
  const known = formats.filter((format) => !(format instanceof StreamingError)) as FrameFormat[];
  const [format] = known;
  if (format === undefined) throw formats[0];
  const sizes = known.map(frameBytes);
  const keeps = sizes.reduce((sum, bytes) => sum + bytes, 0) <= KEPT_BYTES;
  const kept = new Map<string, Picture>();
  let next = 0;
  const pass = (): string | undefined => files[repeat ? next++ % files.length : next++];
  return {
    format,
    maxFrame: Math.max(...sizes),
    async getFrame(into: Uint8Array): Promise<Filled | null> {
      const file = pass();
      if (file === undefined) return null;
      const picture = kept.get(file) ?? (await decode(file, file));
      if (keeps) kept.set(file, picture);
      const { bytes } = picture;
      if (bytes.length <= into.length) into.set(bytes);
      return { bytes: bytes.length, format: picture.format };
    },
  };
}

async function filesOf(path: string): Promise<string[]> {
  let names: string[] = [];
  try {
    if (!(await stat(path)).isDirectory()) return [path];
    names = await readdir(path);
  } catch (cause) {
    throw new StreamingError("ESOURCE", `${path} cannot be read: ${messageOf(cause)}.`, { path });
  }
  const files = names.filter((name) => NAMES.test(name)).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  if (files.length > 0) return files.map((name) => join(path, name));
  throw new StreamingError(
    "ESOURCE",
    `${path} has no pictures; files are known by their endings (png, jpg, webp, …).`,
    { path },
  );
}

/** As its header says; an error is kept for when its turn comes. */
async function formatOf(file: string): Promise<FrameFormat | StreamingError> {
  const sharp = await loadSharp();
  try {
    const { width, height } = (await sharp(file).metadata()).autoOrient;
    return { width, height, pixels: "rgb8" };
  } catch (cause) {
    return new StreamingError("EDECODE", `${file} cannot be decoded: ${messageOf(cause)}.`, { what: file });
  }
}
