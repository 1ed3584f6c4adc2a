// `insane up`: a runtime in the foreground. Options are laid over the file, the file over the daemon's defaults.
import { defaultSocketPath } from "../../client/paths.ts";
import type { EmbeddedRuntime, EmbedOptions, RuntimeConfig } from "../../runtime/api.ts";
import { completeConfig, DAEMON_PORT, merge, readSettings } from "../../runtime/config.ts";
import { isIpv6Text } from "../../runtime/endpoint.ts";
import { standardError } from "../../runtime/log-destination.ts";
import type { CommandSpec, Parsed } from "./arguments.ts";
import { EXIT, UsageError } from "./exit.ts";
import { print, printJson } from "./render.ts";

const LEVELS = ["silent", "error", "warn", "info", "debug"] as const;

const spec = {
  name: "up",
  summary: "Runs a runtime in the foreground until SIGINT or SIGTERM; a second signal does not wait.",
  positionals: "",
  minimum: 0,
  maximum: 0,
  options: {
    config: { kind: "text", value: "FILE", short: "c", description: "JSON file of settings (docs/configuration.md)" },
    socket: {
      kind: "text",
      value: "PATH",
      description:
        "socket for applications (INSANE_SOCKET; else $XDG_RUNTIME_DIR/insane/insane.sock or /run/insane/insane.sock)",
    },
    name: { kind: "text", value: "NAME", description: "name shown to operators and peers; default the host's" },
    listen: {
      kind: "text",
      value: "ADDRESS[:PORT]",
      description: `IPv4 address and UDP port for other hosts (127.0.0.1:${DAEMON_PORT}); data goes through the next port`,
    },
    peer: { kind: "text", value: "ADDRESS:PORT", many: true, description: "another runtime; may be repeated" },
    "no-network": { kind: "flag", description: "shared memory only" },
    log: { kind: "text", value: "LEVEL", among: LEVELS, description: "how much to say on standard error" },
    "print-config": { kind: "flag", description: "print the configuration as it would be used, and exit" },
  },
  details:
    "With --json the log is JSON, one object a line, and so is the line on standard output that says that the runtime is up.",
} as const satisfies CommandSpec;

async function main({ values }: Parsed<typeof spec.options>): Promise<number> {
  const file: Partial<Record<string, unknown>> = values.config === undefined ? {} : { ...readSettings(values.config) };
  const options = Object.entries(fromOptions(values));
  // Not over what the file has in place of an object by mistake: that is to be refused.
  const laid = options.filter(([field, value]) => typeof value !== "object" || isObject(file[field] ?? {}));
  const settings = merge(file, Object.fromEntries(laid)) as EmbedOptions;
  const config = completeConfig(withDaemonDefaults(settings), values.config ?? "configuration");
  if (values["print-config"]) {
    printJson(printable(config));
    return EXIT.OK;
  }
  const signals = new Signals(values.json);
  const { embed } = await import("../../runtime/embed.ts");
  const runtime = await embed(config);
  await announce(runtime, config, values.json);
  const signal = await signals.first;
  standardError().write(
    values.json
      ? `${JSON.stringify({ level: "info", time: new Date().toISOString(), signal, msg: "closing" })}\n`
      : `insane: ${signal}: closing; a second signal does not wait\n`,
  );
  await runtime.close();
  return EXIT.OK;
}

const isObject = (value: unknown): boolean => typeof value === "object" && !Array.isArray(value);

function fromOptions(values: Parsed<typeof spec.options>["values"]): EmbedOptions {
  const [address, port] = values.listen === undefined ? [] : listen(values.listen);
  return {
    ...(values.name === undefined ? {} : { name: values.name }),
    ...(values.socket === undefined ? {} : { socket: values.socket }),
    network: {
      ...(address === undefined ? {} : { address }),
      ...(port === undefined ? {} : { port }),
      ...(values.peer.length === 0 ? {} : { peers: values.peer }),
      ...(values["no-network"] ? { enabled: false } : {}),
    },
    log: {
      pretty: !values.json,
      ...(values.log === undefined ? {} : { level: values.log as (typeof LEVELS)[number] }),
    },
  };
}

function listen(text: string): [string, number | undefined] {
  // Refused as network.address, in words that help more than this option's form.
  if (isIpv6Text(text)) return [text, undefined];
  const match = /^([^:]+)(?::(\d{1,5}))?$/.exec(text);
  if (match === null) throw new UsageError(`--listen is "${text}"; allowed: ADDRESS or ADDRESS:PORT`, spec.name);
  return [match[1]!, match[2] === undefined ? undefined : Number(match[2])];
}

/** A daemon can be found: a socket at its usual place, ports that are known beforehand. */
function withDaemonDefaults(settings: EmbedOptions): EmbedOptions {
  const port = settings.network?.port ?? DAEMON_PORT;
  const network = { port, dataPort: port > 0 && port < 65535 ? port + 1 : 0 };
  return merge({ socket: defaultSocketPath(), network }, settings) as EmbedOptions;
}

/** As a file would say it. */
const printable = (config: RuntimeConfig): unknown => ({
  ...config,
  socketMode: `0${config.socketMode.toString(8).padStart(3, "0")}`,
});

async function announce(runtime: EmbeddedRuntime, config: RuntimeConfig, json: boolean): Promise<void> {
  const datapaths = runtime.status().datapaths.map(({ lane, endpoint }) => ({ lane, endpoint }));
  const hello = config.network.enabled ? `${config.network.address}:${runtime.port}` : null;
  if (json) {
    printJson(
      { ready: true, id: runtime.id, name: config.name, pid: process.pid, socket: runtime.socket, hello, datapaths },
      0,
    );
    return;
  }
  print(
    `insane: ${config.name} is up (process ${process.pid})`,
    `  applications attach to ${runtime.socket}`,
    hello === null
      ? "  shared memory only, no network"
      : `  other hosts reach it at ${hello}, data through ${datapaths.map(({ lane, endpoint }) => `${lane} ${endpoint}`).join(", ") || "nothing"}`,
  );
}

/** The first signal asks for an orderly end, the second does not ask. */
class Signals {
  readonly first: Promise<NodeJS.Signals>;
  constructor(json: boolean) {
    let seen = false;
    this.first = new Promise((resolve) => {
      for (const name of ["SIGINT", "SIGTERM"] as const) {
        process.on(name, () => {
          if (seen) {
            standardError().write(
              json
                ? `${JSON.stringify({ level: "warn", time: new Date().toISOString(), signal: name, msg: "not waiting" })}\n`
                : `insane: ${name} again: not waiting any longer\n`,
            );
            process.exit(EXIT.FAILURE);
          }
          seen = true;
          resolve(name);
        });
      }
    });
  }
}

export const command = { spec, main };
