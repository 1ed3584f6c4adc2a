// A server's claim to its name: the channel of its frames has a name that runtimes tell each other, so who serves it, here
// and on other hosts, is known before a second one begins. Those that began at one time are both told.
import type { NamedChannel, Session } from "../../index.ts";
import { CHANNELS, streamNames } from "./control-records.ts";
import { StreamingError } from "./errors.ts";

/** What servers call the channel of their frames. */
export const FRAMES = "frames";

export class NameClaim {
  private readonly name: string;
  private sources = 0;
  private stop: (() => Promise<void>) | undefined;
  /** Called once each time that there are others besides the holder. */
  rivals: ((error: StreamingError) => void) | undefined;

  private constructor(name: string) {
    this.name = name;
  }

  /** Errors: ETAKEN when somebody serves that name. */
  static async of(session: Session, name: string): Promise<NameClaim> {
    const claim = new NameClaim(name);
    claim.stop = await session.watchChannels((channels) => claim.changed(channels));
    if (claim.sources === 0) return claim;
    await claim.end();
    const why = `"${name}" is served already, on this host or a peer: choose another name, or stop that server (see insane status).`;
    throw new StreamingError("ETAKEN", why, { name });
  }

  /** Its holder is one of those that serve the name from now on. */
  hold(rivals: (error: StreamingError) => void): void {
    this.rivals = rivals;
    this.tell();
  }

  private changed(channels: ReadonlyArray<NamedChannel>): void {
    const { frames } = streamNames(this.name);
    for (const { stream, channel, sources } of channels) {
      if (stream !== frames || channel !== CHANNELS.frames) continue;
      const more = sources > this.sources;
      this.sources = sources;
      if (more) this.tell();
    }
  }
  private tell(): void {
    if (this.sources < 2) return;
    const why = `${this.sources} servers have the name "${this.name}": clients follow the one they found first. Stop all but one.`;
    this.rivals?.(new StreamingError("ETAKEN", why, { name: this.name, servers: this.sources }));
  }

  async end(): Promise<void> {
    this.rivals = undefined;
    await this.stop?.();
  }
}
