// Where a runtime's control socket is by default: one answer for daemon, clients and command line. Pure.

/** File name of the socket within its directory. */
const FILE = "insane.sock";

/**
 * Paths in the order in which a client tries them: `INSANE_SOCKET` alone if set; else the user's runtime directory
 * (`XDG_RUNTIME_DIR`), then the system's. A daemon listens on the first.
 */
export function socketPaths(env: Readonly<Record<string, string | undefined>>): [string, ...string[]] {
  const named = env["INSANE_SOCKET"];
  if (named) return [named];
  const user = env["XDG_RUNTIME_DIR"];
  const system = `/run/insane/${FILE}`;
  return user ? [`${user}/insane/${FILE}`, system] : [system];
}
