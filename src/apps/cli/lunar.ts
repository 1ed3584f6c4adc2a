// What `insane pub`, `sub`, `echo`, `topics` and `hz` share about topics: the Lunar on a session of their own, and what is a
// topic and what a channel on the command line.
import { connect, InsaneError } from "../../index.ts";
import { type Lunar, openLunar, type PublisherOptions, type SubscribeOptions } from "../lunar-mom/lunar.ts";
import { checkPattern, checkTopic } from "../lunar-mom/topics.ts";
import type { Options, Values } from "./arguments.ts";
import { UsageError } from "./exit.ts";
import { type QUALITY, qosOf, tellWarning } from "./quality.ts";

export const DELIVERY = {
  "at-least-once": { kind: "flag", description: "topics: acknowledged, and sent again until it is" },
  last: { kind: "flag", description: "topics: keep the last message for subscribers that come later; begin with it" },
} as const satisfies Options;

type Given = Values<typeof QUALITY & typeof DELIVERY & { readonly json: { kind: "flag"; description: string } }>;

/** A whole number is a channel, everything else a topic. */
export const isTopic = (text: string | undefined): text is string => text !== undefined && !/^[-+]?\d/.test(text);

/** Throws UsageError for what is no topic. */
export function topicOf(text: string, command: string, pattern: boolean): string {
  try {
    if (pattern) checkPattern(text);
    else checkTopic(text);
    return text;
  } catch (error) {
    throw error instanceof InsaneError ? new UsageError(error.message.replace(/\.$/, ""), command) : error;
  }
}

export async function openTopics(
  values: { readonly socket: string | undefined; readonly json: boolean },
  command: string,
): Promise<Lunar & AsyncDisposable> {
  const session = await connect({
    name: `insane ${command} (${process.pid})`,
    ...(values.socket === undefined ? {} : { socket: values.socket }),
  });
  const lunar = await openLunar(session);
  const close = lunar.close.bind(lunar);
  // One that this command opened for it.
  lunar.close = async () => {
    await close();
    await session.close();
  };
  lunar.on("warning", (warning) => tellWarning(warning, values.json));
  lunar.on("problem", ({ code, message }) => tellWarning({ code, message, cure: "" }, values.json));
  return lunar;
}

export function topicOptions(values: Given, command: string): PublisherOptions & SubscribeOptions {
  if (values.stream !== undefined) throw new UsageError("a topic has its own stream: no --stream", command);
  return {
    qos: qosOf(values),
    ...(values["at-least-once"] ? { delivery: "at-least-once" as const } : {}),
    ...(values.last ? { last: true } : {}),
  };
}
