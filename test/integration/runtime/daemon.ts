// A runtime in a process of its own, for tests: settings as JSON in its argument, calls over IPC.
import { Runtime } from "../../../src/index.ts";

const settings = JSON.parse(process.argv[2] ?? "{}");
const runtime = await Runtime.embed({
  network: { enabled: false },
  log: { level: process.env["INSANE_TEST_LOG"] ?? "silent", pretty: true },
  ...settings,
});
const calls: Record<string, (words: Record<string, unknown>) => unknown> = {
  status: () => runtime.status(),
  explain: () => runtime.explain(),
  doctor: () => runtime.doctor(),
  port: () => runtime.port,
  memory: () => {
    // Twice: finalizers of the first may let go of more.
    for (let i = 0; i < 2; i++) gc?.();
    return process.memoryUsage();
  },
  addPeer: ({ endpoint }) => runtime.addPeer(String(endpoint)),
  close: async () => {
    await runtime.close();
    setImmediate(() => process.disconnect());
  },
};
process.on("message", async (words: Record<string, unknown>) => {
  try {
    process.send?.({ answer: words["call"], result: await calls[String(words["method"])]?.(words) });
  } catch (error) {
    process.send?.({ answer: words["call"], error: String(error) });
  }
});
process.on("disconnect", () => process.exit(0));
process.send?.({ up: true, port: runtime.port });
