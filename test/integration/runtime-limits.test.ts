// How many sessions a runtime lets one user have: the rest is for the others, and what ends makes room.
import { chmodSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { canBeNobody, stranger } from "./runtime/nobody.ts";
import { eventually, Stage } from "./runtime/processes.ts";
import { RawClient } from "./runtime/raw-client.ts";

const limits = { sessions: 6, sessionsPerUser: 3 };

describe("a user with as many sessions as one user may have", () => {
  /** Attaches three, and calls back. */
  async function crowd(use: (socket: string, clients: RawClient[]) => Promise<void>): Promise<void> {
    await using stage = new Stage();
    chmodSync(stage.folder, 0o755);
    await stage.daemon({ limits, socketMode: 0o666 });
    const clients: RawClient[] = [];
    try {
      for (let i = 0; i < limits.sessionsPerUser; i++) {
        const client = new RawClient(stage.socket);
        clients.push(client);
        expect((await client.hello()).error).toBeNull();
      }
      await use(stage.socket, clients);
    } finally {
      for (const client of clients) client.close();
    }
  }

  it("is refused another one, told which limit it is, and let in when one has ended", async () => {
    await crowd(async (socket, clients) => {
      for (const role of ["application", "operator"]) {
        using refused = new RawClient(socket);
        expect((await refused.hello({ role })).error).toMatchObject({
          code: "ELIMIT",
          message: expect.stringMatching(/^User \d+ has 3 sessions attached.*limits\.sessionsPerUser/),
        });
      }
      clients[0]?.close();
      await eventually(
        async () => {
          using late = new RawClient(socket);
          return (await late.hello()).error?.code ?? null;
        },
        (code) => code === null,
      );
    });
  });

  it.skipIf(!canBeNobody())("keeps nobody else out", async () => {
    await crowd(async (socket) => {
      expect((await stranger("hello", socket)).code).toBeNull();
    });
  });

  it.skipIf(!canBeNobody())("has its streams moved by nobody else", async () => {
    await crowd(async (socket, [first]) => {
      await first?.ask("session.mapped", {});
      const qos = { acceleration: "none", consumption: "low", timeSensitivity: "best-effort", maxMessage: 64 };
      expect((await first?.ask("stream.open", { name: "theirs", qos }))?.error).toBeNull();
      expect(await stranger("rebind", socket)).toMatchObject({
        code: "EPERM",
        message: expect.stringMatching(/another user's/),
      });
      const move = { session: 1, stream: "theirs", technology: "auto", consumption: "high" };
      expect((await first?.ask("stream.rebind", move))?.error).toBeNull();
    });
  });
});
