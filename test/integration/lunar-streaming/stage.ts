// A runtime and streaming processes attached to it; all end with the test.
import { Stage, type TestProcess, type Words } from "../runtime/processes.ts";

export interface Seen {
  readonly frames: number;
  readonly intact: number;
  readonly last: number;
  readonly missing: number;
  readonly invalid: string[];
  readonly end: string | null;
  readonly stats: {
    received: number;
    skipped: number;
    overtaken: number;
    lost: number;
    invalid: number;
    bytes: number;
  };
}

export class StreamingStage implements AsyncDisposable {
  readonly stage: Stage;
  constructor(prefix: ReadonlyArray<string> = []) {
    this.stage = new Stage(prefix);
  }

  daemon(settings: Words = {}): Promise<TestProcess> {
    return this.stage.daemon(settings);
  }
  async peer(name: string): Promise<TestProcess> {
    const peer = this.stage.start("../lunar-streaming/peer.ts", name, [this.stage.socket, name]);
    await peer.until((words) => words["connected"] === true, "it is connected", 45_000);
    return peer;
  }
  /** A server whose loop runs. */
  async server(options: Words = {}): Promise<TestProcess> {
    const server = await this.peer("server");
    await server.call("serve", options);
    await server.call("loop");
    return server;
  }
  async viewer(name: string, options: Words = {}): Promise<TestProcess> {
    const viewer = await this.peer(name);
    await viewer.call("view", options);
    return viewer;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.stage[Symbol.asyncDispose]();
  }
}

export const seen = async (viewer: TestProcess): Promise<Seen> => (await viewer.call("seen"))["result"] as Seen;
