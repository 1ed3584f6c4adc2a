// The textual form of a control endpoint, "address:port" with a dotted IPv4 address. Pure.

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
