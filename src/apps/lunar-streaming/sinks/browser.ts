// Shows live streams in browsers: a page over HTTP, pictures over one WebSocket each. A browser gets the next picture when it
// has drawn the last one, so a slow one sees fewer and holds up nobody. Pictures are made small and encoded here, at the edge.
import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import type { Client } from "../client.ts";
import { as, loadSharp, rawInput } from "../encoding.ts";
import { messageOf, StreamingError } from "../errors.ts";
import type { Frame } from "../frame.ts";
import { LIVE_PAGE } from "./live-page.ts";
import { LIVE_SCRIPT } from "./live-script.ts";
import { Statistics } from "./statistics.ts";

export interface BrowserOptions {
  /** 0: any free one. */
  readonly port?: number;
  /** Address to listen on; default loopback, since nobody is asked who they are. */
  readonly address?: string;
  readonly title?: string;
  /** Widest picture (960) and most pictures a second (30) that browsers get. */
  readonly maxWidth?: number;
  readonly maxFps?: number;
  /** Another page, which loads /live.js. */
  readonly page?: string;
}

/** Before a picture: feed, number (two words), latency in microseconds; u32, little-endian. */
const PREFIX = 16;
const MOST_BROWSERS = 32;
const MOST_WORDS = 256;
const STATISTICS_MS = 500;

interface Feed {
  readonly name: string;
  readonly client: Client;
  readonly statistics: Statistics;
  /** What browsers are told when they come: how it ended, or nothing. */
  over: string | undefined;
  shown: number;
}
interface Viewer {
  readonly socket: WebSocket;
  /** Feeds of which it can draw another picture. */
  readonly ready: Set<number>;
}

/** Throws ESOURCE when the port is taken, EENCODE without sharp. */
export async function openBrowserSink(options: BrowserOptions = {}): Promise<BrowserSink> {
  await loadSharp();
  const sink = new BrowserSink(options);
  await sink.listen();
  return sink;
}

export class BrowserSink implements AsyncDisposable {
  private readonly options: BrowserOptions;
  private readonly http: HttpServer;
  private readonly sockets = new WebSocketServer({ noServer: true, maxPayload: MOST_WORDS });
  private readonly viewers = new Set<Viewer>();
  private readonly feeds: Feed[] = [];
  private readonly timer: NodeJS.Timeout;
  /** The last of each kind of data, for browsers that come later. */
  private readonly data = new Map<string, string>();
  private closing: Promise<void> | undefined;

  constructor(options: BrowserOptions) {
    this.options = options;
    this.http = createServer((request, response) => this.answer(request, response));
    this.http.on("upgrade", (request, socket, head) => {
      if (!this.admits(request) || request.url !== "/live" || this.viewers.size >= MOST_BROWSERS) socket.destroy();
      else this.sockets.handleUpgrade(request, socket, head, (opened) => this.welcome(opened));
    });
    this.timer = setInterval(() => this.tell(), STATISTICS_MS).unref();
  }

  /** Once, by openBrowserSink. */
  listen(): Promise<void> {
    const { port = 0, address = "127.0.0.1" } = this.options;
    return new Promise((resolve, reject) => {
      this.http.once("error", (cause) => {
        clearInterval(this.timer);
        reject(new StreamingError("ESOURCE", `No page at ${address}:${port}: ${messageOf(cause)}.`));
      });
      this.http.listen(port, address, resolve);
    });
  }

  get url(): string {
    const { address, port } = this.http.address() as AddressInfo;
    return `http://${address}:${port}/`;
  }
  get browsers(): number {
    return this.viewers.size;
  }

  /** Shows what `client` receives until its server ends. `look` sees each frame first and may keep it while it works. */
  async show(name: string, client: Client, look?: (frame: Frame) => void | Promise<void>): Promise<void> {
    const feed: Feed = { name, client, statistics: new Statistics(performance.now()), over: undefined, shown: 0 };
    const index = this.feeds.push(feed) - 1;
    this.greet();
    try {
      for await (const frame of client) {
        feed.statistics.add(frame);
        if (look !== undefined) await look(frame);
        await this.picture(index, feed, frame);
      }
      feed.over = "ended";
    } catch (cause) {
      feed.over = messageOf(cause);
      throw cause;
    } finally {
      this.greet();
    }
  }

  /** Something of the application's own, for its page; browsers that come later get the last of each kind. */
  publish(kind: string, value: unknown): void {
    const text = JSON.stringify({ type: "data", kind, value });
    this.data.set(kind, text);
    this.broadcast(text);
  }

  /**
   * A page of another site may not look through this user's browser: neither from its own origin, nor from a name of its own
   * that it lets point here. So what listens on loopback is called by its address, or localhost.
   */
  private admits({ headers: { origin, host = "" } }: IncomingMessage): boolean {
    if (origin !== undefined && origin !== `http://${host}`) return false;
    const { address = "127.0.0.1" } = this.options;
    return !isLoopback(address) || isLoopback(host.replace(/:\d+$/, ""));
  }

  private async picture(index: number, feed: Feed, frame: Frame): Promise<void> {
    const { maxFps = 30, maxWidth = 960 } = this.options;
    const now = performance.now();
    const waiting = [...this.viewers].filter(({ ready }) => ready.has(index));
    if (waiting.length === 0 || now - feed.shown < 1000 / maxFps) return;
    feed.shown = now;
    const sharp = await loadSharp();
    const { encoding, bytes, width } = frame;
    try {
      const picture = encoding === "raw" ? sharp(bytes, rawInput(frame)) : sharp(bytes);
      if (width > maxWidth) picture.resize({ width: maxWidth, kernel: "nearest", fastShrinkOnLoad: true });
      const jpeg = await as(picture, { encoding: "jpeg", quality: 75 }).toBuffer();
      const message = Buffer.concat([prefix(index, frame), jpeg]);
      for (const { ready, socket } of waiting) {
        ready.delete(index);
        socket.send(message);
      }
    } catch (cause) {
      this.broadcast(JSON.stringify({ type: "wrong", feed: index, number: frame.number, why: messageOf(cause) }));
    }
  }

  private welcome(socket: WebSocket): void {
    const viewer: Viewer = { socket, ready: new Set() };
    this.viewers.add(viewer);
    socket.on("message", (words) => {
      const feed = Number(words.toString());
      if (Number.isInteger(feed) && feed >= 0 && feed < this.feeds.length) viewer.ready.add(feed);
    });
    socket.on("close", () => this.viewers.delete(viewer));
    socket.on("error", () => socket.terminate());
    socket.send(this.greeting());
    for (const text of this.data.values()) socket.send(text);
  }

  private greeting(): string {
    const { title = "Lunar Streaming" } = this.options;
    const feeds = this.feeds.map(({ name, client, over }) => {
      const { width, height, pixels, encoding } = client.server;
      return { name, width, height, pixels, encoding, over };
    });
    return JSON.stringify({ type: "feeds", title, feeds });
  }
  private greet(): void {
    this.broadcast(this.greeting());
  }
  private tell(): void {
    this.feeds.forEach(({ statistics, client, over }, feed) => {
      if (over !== undefined) return;
      const interval = statistics.interval(performance.now(), client.stats);
      this.broadcast(JSON.stringify({ type: "statistics", feed, ...interval, totals: client.stats }));
    });
  }
  private broadcast(text: string): void {
    for (const { socket } of this.viewers) socket.send(text);
  }

  private answer({ url, method }: IncomingMessage, response: ServerResponse): void {
    const pages: Readonly<Record<string, readonly [string, string]>> = {
      "/": ["text/html; charset=utf-8", this.options.page ?? LIVE_PAGE],
      "/live.js": ["text/javascript; charset=utf-8", LIVE_SCRIPT],
    };
    const [type, text] = pages[url ?? ""] ?? ["text/plain; charset=utf-8", "There is nothing here.\n"];
    const status = method !== "GET" ? 405 : pages[url ?? ""] === undefined ? 404 : 200;
    response.writeHead(status, {
      "content-type": type,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "content-security-policy":
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src blob: data:",
    });
    response.end(text);
  }

  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
  private end(): Promise<void> {
    clearInterval(this.timer);
    for (const { socket } of this.viewers) socket.terminate();
    this.sockets.close();
    return new Promise((resolve) => {
      this.http.close(() => resolve());
      this.http.closeAllConnections();
    });
  }
}

const isLoopback = (host: string): boolean => /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/.test(host);

function prefix(feed: number, { number, latencyUs }: Frame): Buffer {
  const bytes = Buffer.alloc(PREFIX);
  bytes.writeUInt32LE(feed, 0);
  bytes.writeUInt32LE(number % 0x100000000, 4);
  bytes.writeUInt32LE(Math.floor(number / 0x100000000), 8);
  bytes.writeUInt32LE(Math.min(0xffffffff, Math.max(0, Math.round(latencyUs))), 12);
  return bytes;
}
