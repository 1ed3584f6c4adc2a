// What an operator or developer can do about a warning that a machine gives: machines know what happened, not what to
// do about it. One sentence a code; docs/codes.md says more.
import { WARNING_CODES, type Warning, type WarningCode } from "../protocol/codes.ts";

const CURES: Readonly<Partial<Record<WarningCode, string>>> = {
  [WARNING_CODES.SINK_UNCONFIRMED]:
    "The sink gets its messages once the one named answers: an engine on a busy host answers late, an application whose loop never awaits must call poll or wait.",
  [WARNING_CODES.SOURCE_UNCONFIRMED]:
    "The source's messages reach it once the one named answers: an engine on a busy host answers late, an application whose loop never awaits must call poll or wait.",
  [WARNING_CODES.REBIND_FAILED]: "Nothing now: it stays where it is. `insane explain` shows what was tried.",
  [WARNING_CODES.ENGINE_STALLED]:
    "Give the engine's thread a core of its own (engine.cpu), or fewer spinning neighbours.",
  [WARNING_CODES.NOT_REALTIME]:
    "Give the process CAP_SYS_NICE or a limit on real-time priority (LimitRTPRIO), or leave engine.fifoPriority out.",
  [WARNING_CODES.ENGINE_DIED]:
    "It is started again by itself. Look for what its driver or library said last; another version may be cured of it.",
  [WARNING_CODES.QUARANTINED]: "Restart the runtime when it suits: what is kept aside is freed only then.",
  [WARNING_CODES.RESTARTED]: "Look for the cause in the log lines before this one.",
  [WARNING_CODES.DATAPATH_DOWN]: "It is tried again by itself. `insane doctor` says what this host can offer now.",
  [WARNING_CODES.EVICTED]: "Correct or restart the application named; it can attach again.",
  [WARNING_CODES.NO_NETWORK]: "Run `insane doctor`: it names what is missing for each datapath.",
};

export const withCure = (code: string, message: string, cure?: string): Warning => ({
  code: code as WarningCode,
  message,
  cure: cure ?? CURES[code as WarningCode] ?? "",
});
