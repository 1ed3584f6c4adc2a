// Who may attach to a runtime: by user, group and how many there are already. Pure.
import type { Notice } from "../../models/lifecycle.ts";
import type { Credentials } from "../effects/connection.ts";
import type { RuntimeConfig } from "./api.ts";

/** Null, or why not. `attached`: those that are. The embedding process itself (`ownPid`) is let in as long as there is room. */
export function refusalOf(
  { pid, uid, gid }: Credentials,
  attached: ReadonlyArray<Credentials>,
  { allow: { uids, gids }, limits }: Pick<RuntimeConfig, "allow" | "limits">,
  ownPid: number,
): Notice | null {
  const own = pid === ownPid;
  if (!own && (uids.length > 0 || gids.length > 0) && !uids.includes(uid) && !gids.includes(gid)) {
    const message = `User ${uid} (group ${gid}) may not attach to this runtime; its configuration (allow) names who may.`;
    return { code: "EPERM", message };
  }
  if (attached.length >= limits.sessions) {
    const message = `${attached.length} sessions are attached, as many as may be (limits.sessions).`;
    return { code: "ELIMIT", message };
  }
  // So that one user's sessions do not keep everybody else out. The embedding process is not among them.
  const theirs = attached.filter((who) => who.uid === uid && who.pid !== ownPid).length;
  if (!own && theirs >= limits.sessionsPerUser) {
    const message = `User ${uid} has ${theirs} sessions attached, as many as one user may have (limits.sessionsPerUser).`;
    return { code: "ELIMIT", message };
  }
  return null;
}
