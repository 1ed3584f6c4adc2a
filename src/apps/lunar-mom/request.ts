// Questions and answers on two channels of a topic: $ask/TOPIC and $answer/TOPIC, each message with a header that says who
// asked what. A question is asked again until it is answered; who answers knows it again, and does nothing twice.
import { InsaneError } from "../../index.ts";
import type { Content, Publisher, PublisherOptions, Subscription, TopicMessage } from "./api.ts";
import type { Lunar } from "./lunar.ts";
import { Copied } from "./message.ts";
import { checkTopic } from "./topics.ts";

/** Requester, number, status, reserved: 32 bits each, little-endian. */
const HEADER = 16;
const ANSWERED = 0;
const FAILED = 1;
const TIMEOUT_MS = 5000;
/** A question is asked again after this, then after twice as long, ms. */
const AGAIN_MS = 100;
/** Questions whose answers are remembered. */
const REMEMBERED = 1024;
const encoder = new TextEncoder();

export type Answer = (question: TopicMessage) => Content | Promise<Content>;

/**
 * Answers every question on a topic, one after the other or, by promises, several at a time. Whoever asked is told what
 * `answer` throws. Errors: as `Lunar.publisher` and `Lunar.subscribe`.
 */
export async function respond(
  lunar: Lunar,
  topic: string,
  answer: Answer,
  options: Pick<PublisherOptions, "qos"> = {},
): Promise<AsyncDisposable & { close(): Promise<void> }> {
  checkTopic(topic);
  const answers = await lunar.internalPublisher(`$answer/${topic}`, options);
  const given = new Map<string, Promise<readonly [number, Content]>>();
  const answerOnce = (key: string, question: TopicMessage): Promise<readonly [number, Content]> => {
    const known = given.get(key);
    if (known !== undefined) return known;
    const giving = (async () => {
      try {
        return [ANSWERED, await answer(question)] as const;
      } catch (error) {
        return [FAILED, error instanceof Error ? error.message : String(error)] as const;
      }
    })();
    given.set(key, giving);
    for (const oldest of given.keys()) {
      if (given.size <= REMEMBERED) break;
      given.delete(oldest);
    }
    return giving;
  };
  let questions: Subscription;
  try {
    questions = await lunar.internalSubscribe(`$ask/${topic}`, options, (message) => {
      if (message.length < HEADER) return;
      const header = new DataView(message.memory.buffer, message.memory.byteOffset + message.offset, HEADER);
      const [requester, number] = [header.getUint32(0, true), header.getUint32(4, true)];
      const question = new Copied(message, topic, HEADER);
      void (async () => {
        const [status, content] = await answerOnce(`${requester} ${number}`, question);
        await send(answers, requester, number, status, content).catch((error) => {
          // Too large, or closed meanwhile: the first can be said.
          if (error.code === "EMSGSIZE") return send(answers, requester, number, FAILED, error.message);
          return 0;
        });
      })().catch(() => {});
    });
  } catch (error) {
    await answers.close();
    throw error;
  }
  const close = async (): Promise<void> => {
    await questions.close();
    await answers.close();
  };
  return { close, [Symbol.asyncDispose]: close };
}

interface Waiting {
  resolve(answer: Uint8Array): void;
  reject(error: Error): void;
}

/** Asks on one topic. */
export class Requester implements AsyncDisposable {
  readonly topic: string;
  private readonly questions: Publisher;
  private readonly answers: Subscription;
  private readonly identity: number;
  private readonly waiting: Map<number, Waiting>;
  private number = 0;

  /** Errors: as `Lunar.publisher` and `Lunar.subscribe`. */
  static async open(lunar: Lunar, topic: string, options: Pick<PublisherOptions, "qos"> = {}): Promise<Requester> {
    checkTopic(topic);
    const identity = 1 + Math.floor(Math.random() * 0xfffffffe);
    const waiting = new Map<number, Waiting>();
    const answers = await lunar.internalSubscribe(`$answer/${topic}`, options, (message) => {
      if (message.length < HEADER) return;
      const header = new DataView(message.memory.buffer, message.memory.byteOffset + message.offset, HEADER);
      // Answers to others come by here as well.
      if (header.getUint32(0, true) !== identity) return;
      const one = waiting.get(header.getUint32(4, true));
      const content = message.copy().subarray(HEADER);
      if (header.getUint32(8, true) === ANSWERED) one?.resolve(content);
      else {
        const why = new TextDecoder().decode(content);
        one?.reject(new InsaneError("EINTERNAL", `Who answers on ${topic} failed: ${why}`, { topic }));
      }
    });
    try {
      const questions = await lunar.internalPublisher(`$ask/${topic}`, options);
      return new Requester(topic, questions, answers, identity, waiting);
    } catch (error) {
      await answers.close();
      throw error;
    }
  }

  private constructor(
    topic: string,
    questions: Publisher,
    answers: Subscription,
    identity: number,
    waiting: Map<number, Waiting>,
  ) {
    this.topic = topic;
    this.questions = questions;
    this.answers = answers;
    this.identity = identity;
    this.waiting = waiting;
  }

  /** The first answer. Errors: ETIMEDOUT (nobody answers, or the network lost one of the two), EINTERNAL (what the answerer threw). */
  async request(content: Content, options: { readonly timeoutMs?: number } = {}): Promise<Uint8Array> {
    const { timeoutMs = TIMEOUT_MS } = options;
    const number = ++this.number >>> 0;
    const signal = AbortSignal.timeout(timeoutMs);
    const timedOut = (why: string): InsaneError =>
      new InsaneError("ETIMEDOUT", `${why} on ${this.topic} within ${timeoutMs} ms.`, { topic: this.topic });
    await this.questions.matched(1, { signal }).catch((error) => {
      throw signal.aborted ? timedOut("Nobody is there to answer") : error;
    });
    return await new Promise<Uint8Array>((resolve, reject) => {
      let again: NodeJS.Timeout | undefined;
      const done = (): void => {
        clearTimeout(again);
        signal.removeEventListener("abort", late);
        this.waiting.delete(number);
      };
      const fail = (error: Error): void => {
        done();
        reject(error);
      };
      const late = (): void => fail(timedOut("No answer came"));
      const settle = (answer: Uint8Array): void => {
        done();
        resolve(answer);
      };
      this.waiting.set(number, { resolve: settle, reject: fail });
      signal.addEventListener("abort", late);
      const ask = (gapMs: number): void => {
        again = setTimeout(() => ask(2 * gapMs), gapMs);
        send(this.questions, this.identity, number, ANSWERED, content).catch(fail);
      };
      ask(AGAIN_MS);
    });
  }

  async close(): Promise<void> {
    const closed = new InsaneError("ECLOSED", `The requester of ${this.topic} is closed.`);
    for (const one of [...this.waiting.values()]) one.reject(closed);
    await this.questions.close();
    await this.answers.close();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function send(
  by: Publisher,
  requester: number,
  number: number,
  status: number,
  content: Content,
): Promise<number> {
  const bytes = typeof content === "string" ? encoder.encode(content) : content;
  for (;;) {
    const token = by.tryPublish(HEADER + bytes.length, (draft) => {
      const { memory, offset } = draft;
      const header = new DataView(memory.buffer, memory.byteOffset + offset, HEADER);
      [requester, number, status, 0].forEach((word, i) => {
        header.setUint32(4 * i, word, true);
      });
      memory.set(bytes, offset + HEADER);
    });
    if (token > 0) return token;
    await by.ready();
  }
}
