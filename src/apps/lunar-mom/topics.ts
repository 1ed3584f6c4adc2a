// Names of topics and patterns over them: what is allowed, what matches, which channel and stream a topic is. Pure; a client
// in another language does the same arithmetic (docs/lunar-mom.md).
import { InsaneError, type Qos } from "../../index.ts";

/** Of UTF-8: a channel's name has 200, and Lunar's own topics about this one have a prefix. */
export const MAX_TOPIC_BYTES = 190;

/** Throws EVALUE with `why`: empty, too-long, level, wildcard, reserved, character. */
export function checkTopic(topic: string): void {
  check(topic, "topic");
  if (/[+#]/.test(topic)) refuse(topic, "wildcard", `The topic "${topic}" has a wildcard: only subscriptions may`);
}

/** As for topics; `+` stands for one level, `#`, at the end, for all that follow and for none. */
export function checkPattern(pattern: string): void {
  check(pattern, "pattern");
  const levels = pattern.split("/");
  levels.forEach((level, i) => {
    const wild = level === "+" || (level === "#" && i === levels.length - 1);
    if (!wild && /[+#]/.test(level)) {
      refuse(pattern, "wildcard", `In "${pattern}", + must be a whole level, and # the last one`);
    }
  });
}

export const isPattern = (text: string): boolean => /[+#]/.test(text);

function check(text: string, what: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes === 0) refuse(text, "empty", `A ${what} has at least one character`);
  if (bytes > MAX_TOPIC_BYTES) {
    refuse(
      text,
      "too-long",
      `The ${what} "${text.slice(0, 24)}..." has ${bytes} bytes, ${MAX_TOPIC_BYTES} are allowed`,
    );
  }
  if (/\p{Cc}|\p{Cs}/u.test(text))
    refuse(text, "character", `A ${what} has no control characters: ${JSON.stringify(text)}`);
  if (text.startsWith("$")) refuse(text, "reserved", `"${text}": what begins with $ is Lunar's own`);
  if (text.split("/").includes(""))
    refuse(text, "level", `"${text}" has an empty level: no / at the ends, no // inside`);
}

function refuse(topic: string, why: string, message: string): never {
  throw new InsaneError("EVALUE", `${message}.`, { topic, why });
}

/** Wildcards do not reach topics that begin with $. */
export function matches(pattern: string, topic: string): boolean {
  if (pattern === topic) return true;
  if (topic.startsWith("$")) return false;
  const wanted = pattern.split("/");
  const levels = topic.split("/");
  for (let i = 0; i < wanted.length; i++) {
    if (wanted[i] === "#") return true;
    if (i >= levels.length || (wanted[i] !== "+" && wanted[i] !== levels[i])) return false;
  }
  return wanted.length === levels.length;
}

/** 32-bit FNV-1a of the topic's UTF-8. */
export function channelOf(topic: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(topic)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** How the messages of a topic travel. `kept`: their publisher can send them again. */
export interface Lane {
  readonly kept: boolean;
  readonly qos: Partial<Qos>;
}

const NAME =
  /^lunar\/(plain|kept)\/(none|fast)\/(low|high)\/(best-effort|time-sensitive)\/([1-9]\d{0,8})(?:\/class-([1-7]))?$/;

/** The stream of a lane: who publishes chooses it, its name tells subscribers everything. */
export function streamOf({ kept, qos }: Lane): string {
  const { acceleration = "none", consumption = "low", timeSensitivity = "best-effort" } = qos;
  const { maxMessage = 65536, trafficClass } = qos;
  const scheduled = trafficClass === undefined ? "" : `/class-${trafficClass}`;
  return `lunar/${kept ? "kept" : "plain"}/${acceleration}/${consumption}/${timeSensitivity}/${maxMessage}${scheduled}`;
}

/** Null: a stream that is not Lunar's. */
export function laneOf(stream: string): Lane | null {
  const [, kind, acceleration, consumption, timeSensitivity, maxMessage, trafficClass] = NAME.exec(stream) ?? [];
  if (kind === undefined) return null;
  const scheduled = trafficClass === undefined ? {} : { trafficClass: Number(trafficClass) };
  const qos = { acceleration, consumption, timeSensitivity, maxMessage: Number(maxMessage), ...scheduled };
  return { kept: kind === "kept", qos: qos as Partial<Qos> };
}
