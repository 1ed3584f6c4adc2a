// Two runtimes on loopback with Lunars on them, for tests: a and a2 on one host, b on the other.
import { type Lunar, openLunar } from "../../../src/apps/lunar-mom/lunar.ts";
import { type EmbeddedRuntime, type EmbedOptions, Runtime } from "../../../src/index.ts";
import { eventually } from "../runtime/processes.ts";

export interface LunarHosts extends AsyncDisposable {
  readonly hosts: { readonly a: EmbeddedRuntime; readonly b: EmbeddedRuntime };
  readonly a: Lunar;
  readonly a2: Lunar;
  readonly b: Lunar;
}

export async function hosts(options: EmbedOptions = {}, faults = ""): Promise<LunarHosts> {
  const start = (name: string, network: object): Promise<EmbeddedRuntime> =>
    Runtime.embed({
      name,
      log: { level: "silent" },
      ...options,
      network: {
        helloIntervalMs: 50,
        silentAfterMs: 10_000,
        ...(faults === "" ? {} : { faults: { udp: faults } }),
        ...options.network,
        ...network,
      },
    });
  const a = await start("A", {});
  const b = await start("B", { peers: [`127.0.0.1:${a.port}`] });
  a.addPeer(`127.0.0.1:${b.port}`);
  await eventually(
    () => [a, b].map((host) => host.status().peers[0]?.state ?? ""),
    (states) => states.every((state) => state.includes("alive")),
  );
  const sessions = await Promise.all([a.connect(), a.connect(), b.connect()]);
  const [la, la2, lb] = await Promise.all(sessions.map((session) => openLunar(session)));
  return {
    hosts: { a, b },
    a: la!,
    a2: la2!,
    b: lb!,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([la, la2, lb].map((lunar) => lunar!.close()));
      await Promise.all([a.close(), b.close()]);
    },
  };
}
