// A control socket of this process to itself, for the embedding application. Both ends are made in one go over a path
// that is gone before anybody could find it, so that nothing stays behind however the process ends.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type * as Effect from "effect/Effect";
import { InsaneError } from "../protocol/codes.ts";
import { attempt } from "./attempt.ts";
import * as native from "./native.ts";

/** Both ends; each belongs to whom it is given. */
export interface OwnConnection {
  readonly client: number;
  readonly server: number;
}

export const ownConnection: Effect.Effect<OwnConnection, InsaneError> = attempt(
  "connect this process to itself",
  () => {
    const folder = mkdtempSync(join(process.env["XDG_RUNTIME_DIR"] ?? tmpdir(), "insane-"));
    let listener: number | "in-use" = "in-use";
    try {
      const path = join(folder, "socket");
      listener = native.listen(path, 0o600);
      const client = listener === "in-use" ? null : native.connect(path);
      const server = listener === "in-use" || client === null ? null : native.accept(listener);
      if (client !== null && server !== null) return { client, server };
      if (client !== null) native.close(client);
      throw new InsaneError("ESYSTEM", `The socket ${path} does not connect.`);
    } finally {
      if (listener !== "in-use") native.close(listener);
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
