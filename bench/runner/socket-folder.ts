// Where the sockets and configuration files of a run lie; removed at its end, also on Ctrl-C.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { undoAtExit } from "./cleanup.ts";

export function socketFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "insane-bench-"));
  return { path, remove: undoAtExit(() => rmSync(path, { recursive: true, force: true })) };
}
