// `Runtime.embed`: a whole runtime in this process. The daemon is this as well, with a socket for others; an embedding
// application gets its sessions over the same control protocol as everybody else, and the inline engine if it wants it.
import { RuntimeActor } from "../actors/runtime.ts";
import type { Session } from "../client/api.ts";
import { openSession } from "../client/session.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { EmbeddedRuntime, EmbedOptions } from "./api.ts";
import { completeConfig, strategyOf } from "./config.ts";
import { HelloDirectory } from "./hello-directory.ts";
import { createLog } from "./log.ts";
import { probeFor } from "./probe.ts";
import { checkCores } from "./thread-fields.ts";

/**
 * Starts a runtime in this process; resolves when it serves.
 * Errors: ECONFIG (a field, its value, what is allowed), EADDRINUSE (somebody holds the socket or a port), EPERM (socket
 * directory not writable), ESYSTEM, EPLATFORM, ENODE, ELIBRARY.
 */
export async function embed(options: EmbedOptions = {}): Promise<EmbeddedRuntime> {
  const config = completeConfig(options);
  checkCores(config);
  const runtime = new RuntimeActor({
    config,
    strategy: strategyOf(options, config),
    log: createLog(config.log, { runtime: config.name }),
    probe: (rdma) => probeFor(config, rdma),
    directory: ({ id, name }, world) => new HelloDirectory({ id, name, network: config.network, world }),
  });
  await runtime.start();
  const sessions = new Set<Session>();

  let closing = false;

  const close = async (): Promise<void> => {
    closing = true;
    await Promise.allSettled([...sessions].map((session) => session.close()));
    await runtime.close();
  };
  return {
    id: runtime.identity.id,
    socket: config.socket,
    get port() {
      return runtime.network.port;
    },
    async connect({ name } = {}) {
      if (closing) throw new InsaneError("ECLOSED", "This runtime is closed.");
      // One thread, one lease: the first session that is opened has it, from before it is open until it is closed. What the
      // others have is served by that one's turns or by the engines' own threads.
      const lease = runtime.network.inline;
      const inline = lease?.reserve() ? lease : undefined;
      const session = await openSession({
        fd: runtime.connectHere(),
        ...(name === undefined ? {} : { name }),
        ...(inline === undefined ? {} : { inlineEngine: inline }),
      }).catch((cause: unknown) => {
        inline?.give(null, []);
        throw cause;
      });
      sessions.add(session);
      inline?.give(session.id, runtime.network.mainLinks);
      session.on("closed", () => {
        sessions.delete(session);
        inline?.give(null, []);
      });
      return session;
    },
    addPeer: (endpoint) => runtime.network.addPeer(endpoint),
    status: () => runtime.status(),
    doctor: () => runtime.doctor(),
    explain: (stream) => runtime.explain(stream),
    watch: (listener) => {
      const { inspection } = runtime.world;
      for (const state of inspection.current) listener(state);
      return inspection.watch(listener);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
