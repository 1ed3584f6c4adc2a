// The options by which `insane pub` and `insane sub` name a stream and ask for its quality, and what they share: the
// session, its stream, and warnings on standard error.
import { connect, type Session, type Stream, type WarningEvent } from "../../index.ts";
import type { Acceleration, Consumption, Qos, TimeSensitivity } from "../../protocol/qos.ts";
import { type Options, SOCKET, toNumber, type Values } from "./arguments.ts";

export const QUALITY = {
  ...SOCKET,
  stream: {
    kind: "text",
    value: "NAME",
    description: "name of the stream; default derives from the quality, so that equal qualities meet",
  },
  acceleration: {
    kind: "text",
    value: "HOW",
    among: ["none", "fast"],
    description: "does it need more than the kernel's network?",
  },
  consumption: { kind: "text", value: "HOW", among: ["low", "high"], description: "may it spend cores on polling?" },
  "time-sensitivity": {
    kind: "text",
    value: "HOW",
    among: ["best-effort", "time-sensitive"],
    description: "first in first out, or scheduled?",
  },
  "max-message": {
    kind: "number",
    value: "BYTES",
    minimum: 1,
    maximum: 134_217_728,
    description: "largest message (65536)",
  },
  batching: {
    kind: "text",
    value: "HOW",
    among: ["on", "off"],
    description: "may small messages share a datagram? default on",
  },
} as const satisfies Options;

export const qosOf = (values: Values<typeof QUALITY>): Partial<Qos> => ({
  ...(values.acceleration === undefined ? {} : { acceleration: values.acceleration as Acceleration }),
  ...(values.consumption === undefined ? {} : { consumption: values.consumption as Consumption }),
  ...(values["time-sensitivity"] === undefined
    ? {}
    : { timeSensitivity: values["time-sensitivity"] as TimeSensitivity }),
  ...(values["max-message"] === undefined ? {} : { maxMessage: values["max-message"] }),
  ...(values.batching === undefined ? {} : { batching: values.batching === "on" }),
});

/** On standard error. */
export function tellWarning(
  { code, message, cure }: { readonly code: string; readonly message: string; readonly cure: string },
  json: boolean,
): void {
  const line = json ? JSON.stringify({ warning: { code, message, cure } }) : `insane: ${code}: ${message} ${cure}`;
  process.stderr.write(`${line.trimEnd()}\n`);
}

export async function openStream(
  values: Values<typeof QUALITY & { readonly json: { kind: "flag"; description: string } }>,
  command: string,
): Promise<{ readonly session: Session; readonly stream: Stream }> {
  const session = await connect({
    name: `insane ${command} (${process.pid})`,
    ...(values.socket === undefined ? {} : { socket: values.socket }),
  });
  const qos = qosOf(values);
  try {
    const stream = await session.createStream({
      ...qos,
      ...(values.stream === undefined ? {} : { name: values.stream }),
    });
    const tell = (warning: WarningEvent): void => tellWarning(warning, values.json);
    for (const warning of stream.warnings) tell(warning);
    stream.on("warning", tell);
    return { session, stream };
  } catch (error) {
    await session.close();
    throw error;
  }
}

export const channelOf = (text: string | undefined, command: string): number =>
  toNumber("CHANNEL", text ?? "", { minimum: 0, maximum: 0xffffffff }, command);

/** Aborts at SIGINT and SIGTERM. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => controller.abort());
  return controller.signal;
}
