// Typed topics: a schema in, values out, as MessagePack in the slot. What does not fit is refused where it is published, and
// counted and told where it arrives.
import { decode, Encoder } from "@msgpack/msgpack";
import { InsaneError, type Issue, type StandardResult, type StandardSchema } from "../../index.ts";
import type { Publisher, PublisherOptions, SubscribeOptions, Subscription, TopicMessage } from "./api.ts";
import type { Lunar } from "./lunar.ts";

export interface TypedPublisher<Input> extends AsyncDisposable {
  /** The publisher underneath: `matched`, `ready`, `settled`. */
  readonly publisher: Publisher;
  /** Throws EVALUE with the path of what does not fit; EAGAIN, EMSGSIZE, ECLOSED. */
  publish(value: Input): number;
  /** Waits instead of EAGAIN. */
  send(value: Input): Promise<number>;
  close(): Promise<void>;
}
export interface InvalidMessage {
  readonly topic: string;
  readonly source: number;
  readonly reason: string;
}
export type TypedHandler<Output> = (value: Output, message: TopicMessage) => void;
export interface TypedSubscribeOptions extends SubscribeOptions {
  /** A message that is no value of the topic. */
  readonly invalid?: (what: InvalidMessage) => void;
}

export interface TypedTopic<Input, Output> {
  readonly topic: string;
  publisher(lunar: Lunar): Promise<TypedPublisher<Input>>;
  subscribe(lunar: Lunar, handler: TypedHandler<Output>, options?: TypedSubscribeOptions): Promise<Subscription>;
}

/** A topic, or for subscribers a pattern of topics of one type. */
export function defineTopic<Input, Output = Input>(
  definition: PublisherOptions & { readonly topic: string; readonly schema: StandardSchema<Input, Output> },
): TypedTopic<Input, Output> {
  const { topic, schema, ...options } = definition;
  return {
    topic,
    publisher: async (lunar) => new ValuePublisher(await lunar.publisher(topic, options), schema),
    subscribe: (lunar, handler, { invalid = () => {}, ...wishes } = {}) => {
      const { qos, delivery, last } = options;
      const asPublished = { ...(qos && { qos }), ...(delivery && { delivery }), ...(last && { last }) };
      return lunar.subscribe(topic, { ...asPublished, ...wishes }, (message) => {
        const result = read(schema, message);
        if (result.issues === undefined) handler(result.value, message);
        else {
          const [issue] = result.issues;
          invalid({ topic: message.topic, source: message.source, reason: `at ${pathOf(issue)}: ${issue?.message}` });
        }
      });
    },
  };
}

class ValuePublisher<Input> implements TypedPublisher<Input> {
  readonly publisher: Publisher;
  private readonly schema: StandardSchema<Input, unknown>;
  private readonly encoder = new Encoder();

  constructor(publisher: Publisher, schema: StandardSchema<Input, unknown>) {
    this.publisher = publisher;
    this.schema = schema;
  }

  publish(value: Input): number {
    // The encoder's own buffer: it is in the slot when this returns.
    const bytes = this.encoder.encodeSharedRef(this.checked(value));
    return this.publisher.publish(bytes.length, (draft) => draft.memory.set(bytes, draft.offset));
  }
  async send(value: Input): Promise<number> {
    return await this.publisher.send(this.encoder.encode(this.checked(value)));
  }

  /** The input is what travels: the receiver's schema makes the output of it again. */
  private checked(value: Input): Input {
    const { issues } = validate(this.schema, value);
    if (issues === undefined) return value;
    const [issue] = issues;
    const { topic } = this.publisher;
    const path = pathOf(issue);
    const why = `The value does not fit the topic ${topic} at ${path}: ${issue?.message ?? "invalid"}.`;
    throw new InsaneError("EVALUE", why, { topic, path });
  }

  close(): Promise<void> {
    return this.publisher.close();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function read<Input, Output>(schema: StandardSchema<Input, Output>, message: TopicMessage): StandardResult<Output> {
  let value: unknown;
  try {
    value = decode(message.bytes);
  } catch (error) {
    return { issues: [{ message: error instanceof Error ? error.message : String(error) }] };
  }
  return validate(schema, value);
}

function validate<Input, Output>(schema: StandardSchema<Input, Output>, value: unknown): StandardResult<Output> {
  const result = schema["~standard"].validate(value);
  if (!(result instanceof Promise)) return result;
  result.catch(() => {});
  return { issues: [{ message: "the schema is asynchronous, which a topic cannot wait for" }] };
}

const pathOf = (issue: Issue | undefined): string =>
  `/${(issue?.path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join("/")}`;
