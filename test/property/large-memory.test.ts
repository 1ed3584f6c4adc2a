// Memory for large messages that could not be made, for a link that is over by then: nothing is kept for it.
import { expect, it } from "vitest";
import { LargeMemory } from "../../src/actors/large-memory.ts";
import type { LinkEnd } from "../../src/actors/link-end.ts";
import { InsaneError } from "../../src/protocol/codes.ts";

it.each([
  { over: true, told: [], listeners: 0 },
  { over: false, told: ["W_NO_LARGE_MEMORY"], listeners: 1 },
])(
  "a link that could not have memory is remembered as long as it is there (over: $over)",
  async ({ over, ...after }) => {
    let refuse = (_: InsaneError): void => {};
    const told: string[] = [];
    const memory = new LargeMemory({
      label: "the engine",
      bytes: 2 ** 20,
      engine: () => ({}) as never,
      scope: () => ({
        acquireAsync: () =>
          new Promise((_, reject) => {
            refuse = reject;
          }),
        release: async () => {},
      }),
      assign: async () => {},
      warn: (code) => told.push(code),
    });
    let listeners = 0;
    let reserved = 0;
    const to = {
      maxMessage: () => 2 ** 24,
      domain: null,
      reserve: (bytes: number) => {
        reserved += bytes;
      },
      unreserve: (bytes: number) => {
        reserved -= bytes;
      },
      onRoom: () => {
        listeners++;
        return () => listeners--;
      },
    } as unknown as LinkEnd;
    const share = memory.share("s", to, 1);
    if (over) memory.leave(1);
    refuse(new InsaneError("ESYSTEM", "There is no memory."));
    expect(await share).toEqual({ infos: [], fds: [] });
    expect({ told, listeners }).toEqual(after);
    expect(reserved).toBe(0);
  },
);
