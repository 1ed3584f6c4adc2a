// What an endpoint takes, as one number: its largest datagram and its flags (ins_endpoint_limits of core/datapath.h). Pure.
import type { Endpoint } from "./engine.ts";

/** INS_ENDPOINT_SINGLY. */
const SINGLY = 0x10000;

export const endpointLimits = ({ mtu, trains }: Pick<Endpoint, "mtu" | "trains">): number =>
  trains === false ? mtu | SINGLY : mtu;

export const limitsOf = (limits: number): Pick<Endpoint, "mtu" | "trains"> => ({
  mtu: limits & 0xffff,
  ...((limits & SINGLY) === 0 ? {} : { trains: false }),
});
