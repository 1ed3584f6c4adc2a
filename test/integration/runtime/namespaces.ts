// Two hosts for tests, as root: network namespaces joined by a veth pair. Removed with the test, also when it fails.
import { execFileSync } from "node:child_process";

const PREFIX = "ixr";
let made = 0;

const ip = (...args: string[]): string =>
  execFileSync("ip", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

/** Why this process cannot make namespaces, or an empty text. */
export function noNamespaces(): string {
  if (process.getuid?.() !== 0) return "needs root (network namespaces, XDP)";
  try {
    ip("netns", "list");
    return "";
  } catch {
    return "needs iproute2";
  }
}

export interface NamespaceHost {
  readonly namespace: string;
  readonly interface: string;
  readonly address: string;
  /** What a command line begins with to run on this host. */
  readonly prefix: ReadonlyArray<string>;
  /** `ip ARGS` on this host. */
  ip(...args: string[]): string;
  /** An XDP program is attached to its interface. */
  readonly filtered: boolean;
}

/** `network` of a runtime on one host whose only peer is on the other, at the same port. */
export const networkTowards = (host: NamespaceHost, other: NamespaceHost, port: number, more: object = {}) => ({
  enabled: true,
  address: host.address,
  port,
  peers: [`${other.address}:${port}`],
  helloIntervalMs: 50,
  silentAfterMs: 5000,
  ...more,
});

export class TwoHosts implements Disposable {
  readonly a: NamespaceHost;
  readonly b: NamespaceHost;

  /** `queues`: of each interface, for receiving and for sending. */
  constructor(mtu = 1500, queues = 1) {
    const number = ++made;
    const names = ["a", "b"].map((side) => `${PREFIX}-${process.pid}-${number}${side}`) as [string, string];
    [this.a, this.b] = names.map((namespace, i): NamespaceHost => {
      const at = (...args: string[]): string => ip("-n", namespace, ...args);
      return {
        namespace,
        interface: "veth0",
        address: `10.84.0.${i + 1}`,
        prefix: ["ip", "netns", "exec", namespace],
        ip: at,
        get filtered() {
          return /xdp/.test(at("link", "show", "dev", "veth0"));
        },
      };
    }) as [NamespaceHost, NamespaceHost];
    const numbered = ["numrxqueues", String(queues), "numtxqueues", String(queues)];
    try {
      for (const name of names) ip("netns", "add", name);
      ip(
        "link",
        "add",
        "veth0",
        "mtu",
        String(mtu),
        "netns",
        names[0],
        ...numbered,
        "type",
        "veth",
        "peer",
        "name",
        "veth0",
        "netns",
        names[1],
        ...numbered,
      );
      ip("-n", names[1], "link", "set", "veth0", "mtu", String(mtu));
      for (const host of [this.a, this.b]) {
        host.ip("addr", "add", `${host.address}/24`, "dev", "veth0");
        host.ip("link", "set", "lo", "up");
        host.ip("link", "set", "veth0", "up");
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const { namespace } of [this.a, this.b]) {
      try {
        ip("netns", "del", namespace);
      } catch {
        // It was never made.
      }
    }
  }
}
