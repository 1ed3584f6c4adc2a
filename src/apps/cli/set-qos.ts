// `insane set-qos`: another quality for a stream that is open, of any session, while messages flow; or, without one, the
// decision taken again.
import type { ClientMethodTable, Params } from "../../protocol/control.ts";
import { type CommandSpec, type Parsed, SOCKET, toNumber } from "./arguments.ts";
import { EXIT } from "./exit.ts";
import { connectOperator } from "./operator.ts";
import { QUALITY } from "./quality.ts";
import { print, printJson } from "./render.ts";

const spec = {
  name: "set-qos",
  summary: "Gives an open stream another quality; it moves to another datapath if that gives it, while messages flow.",
  positionals: "SESSION STREAM",
  minimum: 2,
  maximum: 2,
  options: {
    ...SOCKET,
    acceleration: QUALITY.acceleration,
    consumption: QUALITY.consumption,
    to: {
      kind: "text",
      value: "TECHNOLOGY",
      among: ["auto", "udp", "xdp", "dpdk", "rdma"],
      description: "use this whatever the strategy says, as long as it is available; auto: no longer",
    },
  },
  details:
    "SESSION is its number and STREAM the stream's name, as `insane status` shows them. Without an option the decision is taken again.",
} as const satisfies CommandSpec;

type Change = Params<ClientMethodTable, "stream.rebind">;

async function main({ values, positionals }: Parsed<typeof spec.options>): Promise<number> {
  const [session = "", stream = ""] = positionals;
  const number = toNumber("SESSION", session, { minimum: 1, maximum: 0xffffffff }, spec.name);
  await using operator = await connectOperator(values.socket, spec.name);
  const { decision } = await operator.ask("stream.rebind", {
    session: number,
    stream,
    ...(values.acceleration === undefined
      ? {}
      : { acceleration: values.acceleration as Change["acceleration"] & string }),
    ...(values.consumption === undefined ? {} : { consumption: values.consumption as Change["consumption"] & string }),
    ...(values.to === undefined ? {} : { technology: values.to as Change["technology"] & string }),
  });
  if (values.json) printJson(decision);
  else {
    print(
      `${stream} of session ${number}: ${decision.datapath ?? "no datapath: this host only"}, by the strategy "${decision.strategy}"`,
    );
    for (const { code, message, cure } of decision.warnings)
      print(`${code}: ${message}${cure === "" ? "" : ` ${cure}`}`);
  }
  return EXIT.OK;
}

export const command = { spec, main };
