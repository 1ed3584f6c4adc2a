// The public module of Lunar Streaming: what an application imports as "insane-middleware/lunar-streaming". Sharp, ffmpeg
// and the web server are loaded when they are called for.
import type { BrowserOptions, BrowserSink } from "./sinks/browser.ts";

export type { ClientState } from "./audience.ts";
export { Client, type ClientOptions, type ClientStats, connect, type Missing } from "./client.ts";
export { decode, type EncodeOptions, encode, encoded, type Picture, rawOf } from "./encoding.ts";
export { type StreamingCode, StreamingError } from "./errors.ts";
export { Frame } from "./frame.ts";
export { type Encoding, type FrameFormat, frameBytes, type PixelFormat } from "./frame-header.ts";
export type { Filled, FrameSource } from "./frame-source.ts";
export { openServer, type Server } from "./server.ts";
export type { ServerOptions, ServerStats } from "./server-api.ts";
export { savePng } from "./sinks/png.ts";
export { type Interval, Statistics } from "./sinks/statistics.ts";
export { type ImagesOptions, images } from "./sources/images.ts";
export { TestPattern } from "./sources/pattern.ts";
export { type VideoOptions, video } from "./sources/video.ts";
export type { BrowserOptions, BrowserSink };

/** Shows streams in browsers. Throws ESOURCE when the port is taken, EENCODE without sharp. */
export async function openBrowserSink(options: BrowserOptions = {}): Promise<BrowserSink> {
  return (await import("./sinks/browser.ts")).openBrowserSink(options);
}
