// What an operator is warned of because of the network: each thing once, with what to do about it. It decides nothing.
import { engines } from "../native/engine.ts";
import { WARNING_CODES, type Warning } from "../protocol/codes.ts";
import type { Lane } from "../protocol/lanes.ts";
import type { NetworkTechnology } from "../protocol/qos.ts";
import type { RuntimeConfig } from "./api.ts";
import type { DataEndpoint, PeerInfo } from "./directory.ts";
import { MtuWatch } from "./mtu.ts";
import { reaches } from "./reach.ts";
import { Told } from "./told.ts";

/** Least receive buffer of the data socket that is not worth a warning, bytes. */
const RECEIVE_BUFFER = 4 * 2 ** 20;

export class NetworkWarnings {
  readonly #tell: (warning: Warning) => void;
  readonly #mtu = new MtuWatch();
  /** Endpoints of peers that were told to be out of reach. */
  readonly #unreached = new Told();
  /** Technologies that were told to be unable to sleep. */
  readonly #restless = new Set<NetworkTechnology>();

  constructor(tell: (warning: Warning) => void) {
    this.#tell = tell;
  }

  faults(faults: RuntimeConfig["network"]["faults"]): void {
    for (const [technology, text] of Object.entries(faults ?? {})) {
      this.#tell({
        code: WARNING_CODES.FAULTS_INJECTED,
        message: `Faults are injected into ${technology}, as network.faults asks for: ${text}.`,
        cure: "Take network.faults out of the configuration, unless this is a test.",
      });
    }
  }

  noCoreLeft(lane: Lane): void {
    this.#tell({
      code: WARNING_CODES.TOO_MANY_SPINNERS,
      message: `The engine of ${lane} is to spin, and this process has no core left for it: it yields instead.`,
      cure: "Give the process more cores, or set engine.idle to park or yield.",
    });
  }

  collision(peer: string, stream: string, owner: string): void {
    this.#tell({
      code: WARNING_CODES.TAG_COLLISION,
      message: `${peer} wants stream ${stream}, whose tag is that of stream ${owner} here: nothing is sent to it.`,
      cure: "Give one of the two streams another name.",
    });
  }

  /** What a peer wants at an endpoint that no datapath of this host reaches is told once: nothing will come there. */
  reach(info: PeerInfo, here: ReadonlyArray<DataEndpoint>): void {
    const { id, name, endpoints, subscriptions } = info;
    for (const warning of this.#mtu.look(info, here)) this.#tell(warning);
    for (const lane of new Set(subscriptions.map((wanted) => wanted.lane))) {
      const there = endpoints.find((endpoint) => endpoint.lane === lane);
      // What is wanted over RDMA is wanted over UDP as well.
      if (lane === "rdma") continue;
      // Without any datapath nothing is reached, and that has been told as such.
      if (!there || here.length === 0) continue;
      if (here.some((ours) => reaches(ours, there))) continue;
      if (!this.#unreached.first(`${id} ${lane}`)) continue;
      this.#tell({
        code: WARNING_CODES.PEER_REFUSED,
        message: `${name} wants messages at its ${lane} endpoint ${there.address}:${there.port}, which nothing reaches from here.`,
        cure: "Runtimes on one host reach each other over kernel UDP: set network.xdp.enabled to false in one that has peers there.",
      });
    }
  }

  /** The kernel may give less than was asked for, and then bursts are lost without a word. */
  receiveBuffer(bytes: number | undefined): void {
    if (bytes === undefined || bytes >= RECEIVE_BUFFER) return;
    this.#tell({
      code: WARNING_CODES.RECEIVE_BUFFER,
      message: `The kernel gave the data socket a receive buffer of ${bytes} bytes; bursts larger than that are lost.`,
      cure: `Raise it: \`sysctl net.core.rmem_max=${RECEIVE_BUFFER}\`, or run with CAP_NET_ADMIN.`,
    });
  }

  /** A datapath that cannot wake its engine costs CPU time when nothing comes, and answers later. */
  parking(technology: NetworkTechnology): void {
    if (this.#restless.has(technology) || engines().datapathCanPark(technology)) return;
    this.#restless.add(technology);
    this.#tell({
      code: WARNING_CODES.CANNOT_PARK,
      message: `Nothing that ${technology} receives can wake its engine: while it is idle it looks every 50 microseconds.`,
      cure: `Set network.${technology}.idle to spin (with a core of its own) for short round trips, or close the streams that use it.`,
    });
  }
}
