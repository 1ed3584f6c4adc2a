// `insane doctor`: what this host can offer and what is missing, with evidence and cure. Reads only, and needs no runtime: where
// one runs it is asked, because it knows its configuration, and that what has the interface may be an engine of its own.
import { defaultSocketPath } from "../../client/paths.ts";
import { InsaneError } from "../../protocol/codes.ts";
import type { CapabilityRecord } from "../../protocol/control.ts";
import { probeAll, probeOf } from "../../qos/capabilities.ts";
import { completeConfig, readSettings } from "../../runtime/config.ts";
import { probeFor } from "../../runtime/probe.ts";
import { type CommandSpec, type Parsed, SOCKET, wrap } from "./arguments.ts";
import { EXIT, UsageError } from "./exit.ts";
import { examineHost, type Finding } from "./host.ts";
import { connectOperator } from "./operator.ts";
import { paint, print, printJson } from "./render.ts";

const spec = {
  name: "doctor",
  summary: "Says which technologies this host offers, why (not), and how to get them; changes nothing.",
  positionals: "",
  minimum: 0,
  maximum: 0,
  options: {
    ...SOCKET,
    interface: {
      kind: "text",
      value: "NAME",
      short: "i",
      description: "look at the host itself, and at this network interface of it",
    },
    config: {
      kind: "text",
      value: "FILE",
      short: "c",
      description: "look at the host itself, for a runtime with these settings",
    },
  },
  details:
    "A runtime that listens on the socket is asked what it finds with its configuration; else, and with --interface or --config, this command looks itself. " +
    "Exit code 1 when applications could not be served here at all: no shared memory, or no way to open the socket.",
} as const satisfies CommandSpec;

type Found = { readonly technologies: ReadonlyArray<CapabilityRecord>; readonly as: string };

function lookOneself(values: Parsed<typeof spec.options>["values"]): Found {
  if (values.config !== undefined) {
    if (values.interface !== undefined) {
      throw new UsageError("--config names the interfaces; leave --interface out", spec.name);
    }
    const config = completeConfig(readSettings(values.config), values.config);
    return { technologies: probeFor(config), as: `for a runtime as ${values.config} configures it` };
  }
  // RDMA is looked for by provider, not by interface.
  return {
    technologies: probeAll(values.interface ?? "", { rdma: () => probeOf("rdma", "") }),
    as: "without any configuration",
  };
}

async function look(values: Parsed<typeof spec.options>["values"]): Promise<Found> {
  if (values.interface !== undefined || values.config !== undefined) return lookOneself(values);
  try {
    await using operator = await connectOperator(values.socket, spec.name);
    const { name, pid } = operator.runtime;
    return { technologies: await operator.ask("doctor", {}), as: `as the runtime ${name} (process ${pid}) finds it` };
  } catch (error) {
    if (!(error instanceof InsaneError)) throw error;
    // Whether one listens, and why it does not answer, is among what is said of the host.
    return lookOneself(values);
  }
}

async function main({ values }: Parsed<typeof spec.options>): Promise<number> {
  const { technologies, as } = await look(values);
  const host = examineHost(values.socket ?? defaultSocketPath());
  const ok = technologies[0]?.available === true && host.every(({ verdict }) => verdict !== "bad");
  if (values.json) printJson({ ok, as, technologies, host });
  else {
    print(
      `What can carry messages here, ${as}; below each what was looked at, and what it would take:`,
      ...technologies.flatMap(describe),
      "",
      'This host ("ok": nothing to do; "!": works, could be better; "bad": nothing works before it is mended):',
      ...host.flatMap(line),
      "",
      closing(technologies, host),
    );
  }
  return ok ? EXIT.OK : EXIT.FAILURE;
}

/** Said once each: names are short. */
const MEANS: Record<CapabilityRecord["technology"], string> = {
  shm: "shared memory, between applications of one host",
  udp: "sockets of the kernel, to any other host",
  xdp: "AF_XDP: frames past the kernel's network stack, through an ordinary interface",
  dpdk: "a driver in user space, which keeps a core busy all the time",
  rdma: "a network card that moves messages between hosts by itself",
};

const INDENT = " ".repeat(9);
const indented = (text: string): string[] => wrap(text, 100 - INDENT.length).map((part) => INDENT + part);

function describe({ technology, available, emulated, reason, evidence, cure }: CapabilityRecord): string[] {
  const mark = !available ? paint("red", "no ") : emulated ? paint("yellow", "sim") : paint("green", "yes");
  return [
    `${paint("bold", technology.padEnd(4))} ${mark} ${reason}`,
    `${INDENT}${MEANS[technology]}`,
    ...evidence.flatMap(indented).map((text) => paint("gray", text)),
    ...(cure === "" ? [] : indented(`to get it: ${cure}`)),
  ];
}

const MARKS = { good: paint("green", "ok "), note: paint("yellow", "!  "), bad: paint("red", "bad") } as const;

const line = ({ name, verdict, finding, cure }: Finding): string[] => [
  ...wrap(`${name}: ${finding}`, 96).map((text, i) => (i === 0 ? `${MARKS[verdict]} ${text}` : `${INDENT}${text}`)),
  ...(cure === "" ? [] : indented(cure)),
];

function closing(technologies: ReadonlyArray<CapabilityRecord>, host: ReadonlyArray<Finding>): string {
  const bad = host.filter(({ verdict }) => verdict === "bad").map(({ name }) => name);
  if (bad.length > 0) return paint("red", `Nothing can be served here until this is mended: ${bad.join(", ")}.`);
  const fast = technologies.filter(
    ({ technology, available, emulated }) => available && !emulated && technology !== "shm" && technology !== "udp",
  );
  return fast.length > 0
    ? `Streams that ask for acceleration can use ${fast.map(({ technology }) => technology).join(", ")}.`
    : "Streams that ask for acceleration run on kernel UDP here, with warning W_FALLBACK_UDP.";
}

export const command = { spec, main };
