// When the next frame is due, and how many have been missed: a clock that never catches up by hurrying, and slows down
// while nobody can take what it gives. Time comes from outside, so that this is arithmetic only.

/** Share of its frames that the best client must get for the rate to rise again. */
const GOOD_SHARE = 0.98;
const POOR_SHARE = 0.9;
const RISE = 1.1;

export class Pace {
  /** Frames a second: as asked for, the fewest, and now. */
  readonly most: number;
  readonly least: number;
  fps: number;
  /** When the last frame was due, ms. */
  private due = Number.NaN;

  constructor(most: number, least = most) {
    this.most = most;
    this.least = Math.min(least, most);
    this.fps = most;
  }

  /** From now, ms: how long to wait for the next frame, and how many that were due before it are passed over. */
  next(now: number): { readonly wait: number; readonly missed: number } {
    const period = 1000 / this.fps;
    if (Number.isNaN(this.due)) this.due = now;
    this.due += period;
    const late = now - this.due;
    if (late <= period) return { wait: Math.max(0, -late), missed: 0 };
    const missed = Math.floor(late / period);
    this.due += missed * period;
    return { wait: 0, missed };
  }

  /** Time was not running: nobody was there. */
  restart(): void {
    this.due = Number.NaN;
  }

  /** What share of its frames the client that fares best has got lately, 0 to 1. */
  heard(share: number): void {
    if (share < POOR_SHARE) this.fps = Math.max(this.least, this.fps * Math.max(0.5, share));
    else if (share >= GOOD_SHARE) this.fps = Math.min(this.most, this.fps * RISE);
  }
}
