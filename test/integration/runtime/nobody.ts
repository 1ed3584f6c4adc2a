// Processes of another user, for tests that run as root.
import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";

/** Another user and group than any that tests run as. */
export const NOBODY = 65534;

/** What stranger.ts, run as that user, was answered. */
export function stranger(what: string, socket: string): Promise<{ code: string | null; message?: string }> {
  return new Promise((resolve, reject) => {
    const file = join(import.meta.dirname, "stranger.ts");
    const options = { uid: NOBODY, gid: NOBODY, cwd: "/", env: { PATH: process.env["PATH"] ?? "" } };
    execFile(process.execPath, [file, what, socket], options, (error, stdout) => {
      if (error) reject(error);
      else resolve(JSON.parse(stdout));
    });
  });
}

/** Root can be somebody else, where others may read this repository and run this Node. */
export function canBeNobody(): boolean {
  if (process.getuid?.() !== 0) return false;
  const file = join(import.meta.dirname, "stranger.ts");
  const read = `require("node:fs").readFileSync(${JSON.stringify(file)})`;
  return spawnSync(process.execPath, ["-e", read], { uid: NOBODY, gid: NOBODY, cwd: "/" }).status === 0;
}
