// A folder of this process alone, as a scoped effect, for a socket that only this process is to find.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { InsaneError } from "../protocol/codes.ts";
import { attempt } from "./attempt.ts";

export const privateFolder: Effect.Effect<string, InsaneError, Scope.Scope> = Effect.acquireRelease(
  attempt("make a folder for the private socket", () =>
    mkdtempSync(join(process.env["XDG_RUNTIME_DIR"] ?? tmpdir(), "insane-")),
  ),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true })),
);
