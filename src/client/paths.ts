// Where the runtime's socket is when nobody says: clients and daemon ask here, so that they agree.
import { join } from "node:path";

/** `INSANE_SOCKET`, else the user's runtime directory, else the system's. */
export function defaultSocketPath(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const named = env["INSANE_SOCKET"];
  if (named) return named;
  const runtime = env["XDG_RUNTIME_DIR"];
  return runtime ? join(runtime, "insane", "insane.sock") : "/run/insane/insane.sock";
}
