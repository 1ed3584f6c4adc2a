// Another user, for tests: says hello to a socket, tries to move a stream of the first session there, or to start a runtime on
// it, and prints what it was answered.
import { InsaneError, Runtime } from "../../../src/index.ts";
import { RawClient } from "./raw-client.ts";

const [, , what = "", socket = ""] = process.argv;
try {
  if (what === "embed") {
    const runtime = await Runtime.embed({ socket, network: { enabled: false }, log: { level: "silent" } });
    await runtime.close();
    console.log(JSON.stringify({ code: null }));
  } else {
    using client = new RawClient(socket);
    const hello = await client.hello({ role: what === "rebind" ? "operator" : "application" });
    const move = { session: 1, stream: "theirs", technology: "auto", consumption: "high" };
    const { error } = what === "rebind" && !hello.error ? await client.ask("stream.rebind", move) : hello;
    console.log(JSON.stringify({ code: error?.code ?? null, message: error?.message }));
  }
} catch (error) {
  console.log(JSON.stringify({ code: error instanceof InsaneError ? error.code : "?", message: String(error) }));
}
