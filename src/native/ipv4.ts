// IPv4 addresses as people write them and as C holds them. Pure.
import { InsaneError } from "../protocol/codes.ts";

/** Dotted IPv4 as the u32 that C holds in network order. Throws `ESCHEMA`. */
export function ipv4ToNetwork(address: string): number {
  const parts = address.split(".");
  const bytes = parts.map((part) => (/^\d{1,3}$/.test(part) ? Number(part) : 256));
  if (bytes.length !== 4 || bytes.some((byte) => byte > 255)) {
    throw new InsaneError("ESCHEMA", `"${address}" is no IPv4 address; write four numbers, like 192.0.2.1.`, {
      address,
    });
  }
  return new Uint32Array(new Uint8Array(bytes).buffer)[0] ?? 0;
}

export function ipv4FromNetwork(address: number): string {
  return new Uint8Array(new Uint32Array([address]).buffer).join(".");
}
