// The runtime's side of a control socket when sending fails, or an application owes answers without end: nobody who tells of
// something is interrupted, nothing is thrown where nobody could catch it, and silence has a limit.
import { describe, expect, it } from "vitest";
import { RpcChannel, type RpcHandlers } from "../../src/actors/rpc-channel.ts";
import type { Connection } from "../../src/effects/connection.ts";
import { InsaneError } from "../../src/protocol/codes.ts";
import { decodeFrame, encodeRequest } from "../../src/protocol/rpc.ts";

function stage(send: Connection["send"] = () => {}) {
  const told: string[] = [];
  const handlers: RpcHandlers = {
    request: () => ({ result: {} as never, fds: [7] }),
    notification: () => {},
    fault: ({ code }) => told.push(`fault ${code}`),
    silent: (owed) => told.push(`owes ${owed}`),
    defect: (cause) => told.push((cause as Error).message),
  };
  const connection: Connection = { credentials: { pid: 1, uid: 0, gid: 0 }, queued: 0, send };
  return { told, channel: new RpcChannel(() => connection, handlers) };
}
const broken = (): never => {
  throw new InsaneError("ESYSTEM", "planted");
};

describe("a control channel", () => {
  it("does not interrupt whoever tells of something", () => {
    const { told, channel } = stage(broken);
    channel.tell("runtime.closing", { reason: "x" });
    channel.reject(new InsaneError("ESCHEMA", "bad"));
    expect(told).toEqual(["planted", "planted", "fault ESCHEMA"]);
    const { told: wide, channel: other } = stage();
    other.tell("runtime.closing", { reason: "x".repeat(70_000) });
    expect(wide).toEqual(["The frame of runtime.closing is larger than 65536 bytes."]);
  });

  it("says why an answer cannot be given, and no more when that cannot be said either", async () => {
    const sent: unknown[] = [];
    const { told, channel } = stage((frame, fds = []) => {
      if (fds.length > 0) throw new InsaneError("ESYSTEM", "the descriptors are gone");
      sent.push(decodeFrame(frame));
    });
    channel.receive(encodeRequest(1, "session.mapped", {}));
    await new Promise((resolve) => setImmediate(resolve));
    expect(sent).toMatchObject([{ id: 1, error: { code: "ESYSTEM", message: "the descriptors are gone" } }]);
    expect(told).toEqual([]);
    const mute = stage(broken);
    mute.channel.receive(encodeRequest(1, "session.mapped", {}));
    await new Promise((resolve) => setImmediate(resolve));
    expect(mute.told).toEqual(["planted"]);
  });

  it("tells of an application that owes more answers than it has links to be asked about", () => {
    const { told, channel } = stage();
    for (let i = 0; i < 8192; i++) void channel.ask("link.close", { link: 1, mode: "drain", reason: "" });
    expect(told).toEqual([]);
    channel.ask("link.close", { link: 1, mode: "drain", reason: "" }).catch(() => {});
    expect(told).toEqual(["owes 8192"]);
  });
});
