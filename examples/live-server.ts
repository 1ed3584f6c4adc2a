// An application server that embeds the runtime: what is published on topics goes live to browsers by server-sent events.
// GET / is a page, /events?topic=PATTERN a stream, POST /publish?topic=TOPIC publishes the body.
// usage: node examples/live-server.ts [port=8080]; then `insane pub plant/1 hello --socket SOCKET` from anywhere on this host
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLunar } from "../src/apps/lunar-mom/lunar.ts";
import { InsaneError, Runtime } from "../src/index.ts";

const port = Number(process.argv[2] ?? 8080);
const socket = process.env["INSANE_SOCKET"] ?? join(tmpdir(), `insane-live-${process.pid}.sock`);
const runtime = await Runtime.embed({ socket, network: { enabled: false }, log: { level: "error" } });
const lunar = await openLunar(await runtime.connect({ name: "live server" }));
/** Beyond this a browser is too slow: it misses messages, and nobody waits for it. Bytes. */
const BACKLOG = 1 << 20;

const PAGE = `<!doctype html><title>live</title><pre id="log"></pre><script>
  const topic = new URLSearchParams(location.search).get("topic") ?? "#";
  new EventSource("/events?topic=" + encodeURIComponent(topic)).onmessage = ({ data }) => {
    const { topic, text } = JSON.parse(data);
    const log = document.getElementById("log");
    log.textContent = (topic + ": " + text + "\\n" + log.textContent).slice(0, 10000);
  };
</script>`;

async function events(topic: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let missed = 0;
  const subscription = await lunar.subscribe(topic, { last: true }, (message) => {
    if (response.writableLength > BACKLOG) {
      missed++;
      return;
    }
    response.write(`data: ${JSON.stringify({ topic: message.topic, text: message.text(), missed })}\n\n`);
  });
  request.once("close", () => void subscription.close());
  if (request.destroyed) void subscription.close();
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  response.write(": listening\n\n");
}

async function publish(topic: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  await lunar.publish(topic, Buffer.concat(parts), { last: true });
  response.writeHead(204).end();
}

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
  const topic = searchParams.get("topic") ?? "";
  const what = `${request.method} ${pathname}`;
  const serve = async (): Promise<void> => {
    if (what === "GET /events") await events(topic, request, response);
    else if (what === "POST /publish") await publish(topic, request, response);
    else if (what === "GET /") response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
    else response.writeHead(404).end();
  };
  serve().catch((error) => {
    // What is no topic, or too large, is the asker's to know.
    const status = error instanceof InsaneError ? 400 : 500;
    if (!response.headersSent) response.writeHead(status).end(`${error.code ?? "error"}: ${error.message}\n`);
  });
});
server.listen(port, "127.0.0.1", () => {
  const { port: taken } = server.address() as { readonly port: number };
  console.log(`http://127.0.0.1:${taken} socket ${socket}`);
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, async () => {
    server.close();
    server.closeAllConnections();
    await lunar.close();
    await runtime.close();
  });
}
