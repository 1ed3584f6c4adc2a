// How this session's thread sleeps without missing anything: its parked word, the doorbells by which others wake it, and
// the one epoll descriptor that the event loop watches. Costs nothing while nobody waits.
import type { Platform } from "../native/platform.ts";
import { type Mapping, type Waker, wakeOnReadable } from "../native/views.ts";
import { PARKED_PAGE } from "../protocol/layout.ts";

const CONTROL_TAG = 0;
const MAX_TAGS = 64;
const GENERATIONS = 0xffffffff >>> PARKED_PAGE.GENERATION_SHIFT;

export class Sleeper {
  /** What the parked word wishes now, 0: awake. */
  wishes = 0;
  private readonly platform: Platform;
  private readonly mapping: Mapping;
  private readonly word: Int32Array;
  private readonly epoll: number;
  private readonly tags = new Uint32Array(MAX_TAGS);
  private readonly bells = new Map<number, number>();
  private readonly tagOf = new Map<number, number>();
  private readonly control: number;
  private nextTag = CONTROL_TAG + 1;
  private generation = 0;
  private waker: Waker | undefined;
  private open = true;
  private watching = true;

  constructor(platform: Platform, mapping: Mapping, control: number) {
    this.platform = platform;
    this.mapping = mapping;
    this.word = new Int32Array(mapping.buffer, PARKED_PAGE.WORD, 1);
    this.control = control;
    this.epoll = platform.epollCreate();
    platform.epollAdd(this.epoll, control, CONTROL_TAG);
  }

  /** From the event loop: something is to be read. */
  watch(woken: () => void): void {
    this.waker = wakeOnReadable(this.epoll, woken);
  }

  addBell(fd: number): void {
    const tag = this.nextTag++;
    this.platform.epollAdd(this.epoll, fd, tag);
    this.bells.set(tag, fd);
    this.tagOf.set(fd, tag);
  }
  removeBell(fd: number): void {
    const tag = this.tagOf.get(fd);
    if (tag === undefined || !this.open) return;
    this.tagOf.delete(fd);
    this.bells.delete(tag);
    this.platform.raw.epollRemove(this.epoll, fd);
  }

  /** Says what shall wake us. The caller looks at its tails once more before it sleeps. */
  lieDown(wishes: number): void {
    this.wishes = wishes;
    this.generation = (this.generation + 1) & GENERATIONS;
    // A full fence as well. Pairs with the load in Doorbell.ring and in ins_parked_due.
    Atomics.store(this.word, 0, (this.generation << PARKED_PAGE.GENERATION_SHIFT) | wishes);
  }

  /** Nobody needs to ring any more; a ring under way is only drained. */
  getUp(): void {
    if (this.wishes === 0) return;
    this.wishes = 0;
    this.word[0] = this.generation << PARKED_PAGE.GENERATION_SHIFT;
  }

  /** Waits at most so long for a bell or a control frame, and empties the bells. Returns whether there is a control frame. */
  listen(timeoutMs: number): boolean {
    const { raw } = this.platform;
    const count = raw.epollWait(this.epoll, this.tags, MAX_TAGS, timeoutMs);
    let control = false;
    for (let i = 0; i < count; i++) {
      const tag = this.tags[i] as number;
      if (tag === CONTROL_TAG) control = true;
      else {
        const fd = this.bells.get(tag);
        if (fd !== undefined) raw.bellDrain(fd);
      }
    }
    return control;
  }

  /** The runtime's end of the control socket is gone: it would be readable for ever. */
  dropControl(): void {
    if (!this.watching || !this.open) return;
    this.watching = false;
    this.platform.raw.epollRemove(this.epoll, this.control);
  }

  /** Whether the process shall live because this session waits. */
  keepAlive(alive: boolean): void {
    if (alive) this.waker?.ref();
    else this.waker?.unref();
  }

  close(): void {
    if (!this.open) return;
    this.open = false;
    this.getUp();
    this.waker?.close();
    this.platform.raw.fdClose(this.epoll);
    this.mapping.unmap();
  }
}
