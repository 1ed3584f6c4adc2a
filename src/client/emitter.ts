// Typed events: few listeners, seldom called. A listener that throws does not keep the others from hearing.

export class Listeners<Events> {
  private readonly lists: { [K in keyof Events]?: Array<(payload: Events[K]) => void> } = {};

  on<K extends keyof Events>(event: K, listener: (payload: Events[K]) => void): () => void {
    const list = this.lists[event] ?? [];
    this.lists[event] = list;
    list.push(listener);
    return () => {
      const index = list.indexOf(listener);
      if (index >= 0) list.splice(index, 1);
    };
  }

  emit<K extends keyof Events>(event: K, payload: Events[K]): void {
    for (const listener of this.lists[event]?.slice() ?? []) {
      try {
        listener(payload);
      } catch (error) {
        throwLater(error);
      }
    }
  }

  has(event: keyof Events): boolean {
    return (this.lists[event]?.length ?? 0) > 0;
  }
}

/** What a user's function threw where nobody can catch it becomes the process's uncaught exception. */
export function throwLater(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}
