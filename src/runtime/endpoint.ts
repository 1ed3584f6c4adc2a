// The textual form of a control endpoint, "address:port" with a dotted IPv4 address. Pure.
import { isIPv6 } from "node:net";

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

const FORM = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3}):(\d{1,5})$/;

/** Null when the text is not one, or not in the one form in which it is written. */
export function parseEndpoint(text: string): Endpoint | null {
  const match = FORM.exec(text);
  if (match === null) return null;
  const parts = match.slice(1).map(Number);
  const port = parts.pop()!;
  const address = parts.join(".");
  // Leading zeros would be octal to some and decimal to others.
  if (parts.some((part) => part > 255) || port > 65535 || text !== `${address}:${port}`) return null;
  return { address, port };
}

export const formatEndpoint = ({ address, port }: Endpoint): string => `${address}:${port}`;

/** 127.0.0.0/8 (RFC 1122): never leaves the host. */
export const isLoopback = (address: string): boolean => address.startsWith("127.");

/** The text is an IPv6 address: alone or in brackets, with a port, a zone, or the length of a prefix, or without. */
export function isIpv6Text(text: string): boolean {
  const [, address] = /^\[([^\]]+)\](?::\d*)?$/.exec(text) ?? [null, text.replace(/\/\d{1,3}$/, "")];
  return address !== undefined && isIPv6(address);
}

/** Said behind a refusal where somebody named an IPv6 address; else nothing. */
export const ipv6Hint = (value: unknown): string =>
  typeof value === "string" && isIpv6Text(value)
    ? " (this is an IPv6 address, and only IPv4 is spoken: give the host's IPv4 address)"
    : "";
