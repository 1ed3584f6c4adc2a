// The public module of Lunar Streaming: what an application imports as "insane-middleware/lunar-streaming".
export type { ClientState } from "./audience.ts";
export { Client, type ClientOptions, type ClientStats, connect, type Missing } from "./client.ts";
export { type StreamingCode, StreamingError } from "./errors.ts";
export { Frame } from "./frame.ts";
export { type Encoding, type FrameFormat, frameBytes, type PixelFormat } from "./frame-header.ts";
export {
  type Filled,
  type FrameSource,
  openServer,
  type Server,
  type ServerOptions,
  type ServerStats,
} from "./server.ts";
export { TestPattern } from "./sources/pattern.ts";
