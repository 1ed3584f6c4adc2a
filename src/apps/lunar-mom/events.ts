// Lunar as an emitter of events, for code that knows Node's: a topic is an event. What cannot be waited for here, because
// `on` returns at once, comes as the event "error".
import { EventEmitter } from "node:events";
import type { Content, PublisherOptions, SubscribeOptions, Subscription, TopicMessage } from "./api.ts";
import type { Lunar } from "./lunar.ts";

export type Listener = (message: TopicMessage, topic: string) => void;

export class LunarEmitter {
  private readonly lunar: Lunar;
  private readonly options: PublisherOptions & SubscribeOptions;
  private readonly own = new EventEmitter<{ error: [Error] }>();
  private readonly listening = new Map<string, Map<Listener, Promise<Subscription | undefined>>>();

  constructor(lunar: Lunar, options: PublisherOptions & SubscribeOptions = {}) {
    this.lunar = lunar;
    this.options = options;
  }

  /** A topic or a pattern. */
  on(topic: string, listener: Listener): this {
    const listeners = this.listening.get(topic) ?? new Map();
    this.listening.set(topic, listeners);
    if (listeners.has(listener)) return this;
    const opening = this.lunar
      .subscribe(topic, this.options, (message) => listener(message, message.topic))
      .catch((error) => {
        listeners.delete(listener);
        this.failed(error);
        return undefined;
      });
    listeners.set(listener, opening);
    return this;
  }
  /** The message of a listener is borrowed until it returns, as everywhere. */
  once(topic: string, listener: Listener): this {
    const first: Listener = (message, name) => {
      if (!this.listening.get(topic)?.has(first)) return;
      this.off(topic, first);
      listener(message, name);
    };
    return this.on(topic, first);
  }
  off(topic: string, listener: Listener): this {
    const listeners = this.listening.get(topic);
    const opening = listeners?.get(listener);
    listeners?.delete(listener);
    if (listeners?.size === 0) this.listening.delete(topic);
    void opening?.then((subscription) => subscription?.close()).catch((error) => this.failed(error));
    return this;
  }
  emit(topic: string, content: Content): this {
    this.lunar.publish(topic, content, this.options).catch((error) => this.failed(error));
    return this;
  }
  /** As everywhere in Node, an error that nobody listens for is thrown. */
  onError(listener: (error: Error) => void): this {
    this.own.on("error", listener);
    return this;
  }
  /** Resolves when everything that was listened to so far is. */
  async ready(): Promise<this> {
    await Promise.all([...this.listening.values()].flatMap((listeners) => [...listeners.values()]));
    return this;
  }
  /** Listens to nothing any more; the Lunar underneath stays. */
  async removeAll(): Promise<void> {
    const opened = [...this.listening.values()].flatMap((listeners) => [...listeners.values()]);
    this.listening.clear();
    await Promise.all(opened.map(async (opening) => (await opening)?.close()));
  }

  private failed(error: Error): void {
    queueMicrotask(() => this.own.emit("error", error));
  }
}
