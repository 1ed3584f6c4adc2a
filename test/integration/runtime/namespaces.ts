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
  readonly #mtu: number;
  readonly #queues: number;

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
    this.#mtu = mtu;
    this.#queues = queues;
    try {
      for (const name of names) ip("netns", "add", name);
      for (const host of [this.a, this.b]) host.ip("link", "set", "lo", "up");
      this.join();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Joins them, again after the interface of one was deleted. */
  join(): void {
    const [a, b] = [this.a.namespace, this.b.namespace];
    const numbered = ["numrxqueues", String(this.#queues), "numtxqueues", String(this.#queues)];
    const here = ["veth0", "mtu", String(this.#mtu), "netns", a, ...numbered];
    ip("link", "add", ...here, "type", "veth", "peer", "name", "veth0", "netns", b, ...numbered);
    this.b.ip("link", "set", "veth0", "mtu", String(this.#mtu));
    for (const host of [this.a, this.b]) {
      host.ip("addr", "add", `${host.address}/24`, "dev", "veth0");
      host.ip("link", "set", "veth0", "up");
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
