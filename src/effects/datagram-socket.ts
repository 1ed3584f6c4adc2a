// A UDP socket of the control plane as a scoped Effect: bound when acquired, closed when the scope closes.
import { createSocket, type Socket } from "node:dgram";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import { InsaneError } from "../protocol/codes.ts";

export const datagramSocket = (address: string, port: number): Effect.Effect<Socket, InsaneError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Socket, InsaneError>((resume) => {
      const socket = createSocket("udp4");
      socket.once("error", (cause: NodeJS.ErrnoException) => {
        socket.close();
        resume(Effect.fail(refusal(cause, address, port)));
      });
      socket.bind(port, address, () => {
        socket.removeAllListeners("error");
        resume(Effect.succeed(socket));
      });
    }),
    (socket) => Effect.callback<void>((resume) => void socket.close(() => resume(Effect.void))),
  );

function refusal(cause: NodeJS.ErrnoException, address: string, port: number): InsaneError {
  const where = `${address}:${port}`;
  const details = { address, port, errno: cause.code };
  switch (cause.code) {
    case "EADDRINUSE":
      return new InsaneError(
        "EADDRINUSE",
        `UDP ${where} is taken by another program, perhaps another runtime: choose another network.port (0 takes any), or another network.address.`,
        details,
      );
    case "EADDRNOTAVAIL":
      return new InsaneError(
        "ECONFIG",
        `network.address is "${address}", which no interface of this host has; allowed: an address that \`ip address\` shows.`,
        details,
      );
    case "EACCES":
      return new InsaneError(
        "EPERM",
        `UDP ${where} may not be bound by this user: choose a port from 1024 on.`,
        details,
      );
    default:
      return new InsaneError("ESYSTEM", `UDP ${where} cannot be bound: ${cause.message}.`, details);
  }
}
