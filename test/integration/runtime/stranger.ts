// Another user, for tests: says hello to a socket, or tries to start a runtime on it, and prints what it was answered.
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
    const { error } = await client.hello();
    console.log(JSON.stringify({ code: error?.code ?? null, message: error?.message }));
  }
} catch (error) {
  console.log(JSON.stringify({ code: error instanceof InsaneError ? error.code : "?", message: String(error) }));
}
