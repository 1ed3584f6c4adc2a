// Pools of an engine that links share: made for the first, gone with the last, and not all of them for one stranger.
import { expect, it } from "vitest";
import { EnginePools, type PoolOwner } from "../../src/actors/engine-pools.ts";
import type { DomainPool } from "../../src/effects/domain-pool.ts";

it("no user has all of the pools of an engine, and who leaves makes room", async () => {
  const pools = new EnginePools<PoolOwner>({
    most: 8,
    mostOfGroup: 3,
    noun: "streams",
    scope: () => ({ release: async () => {} }) as never,
    make: async () => ({ info: {}, segment: { fd: 1 } }) as unknown as DomainPool,
  });
  let link = 0;
  const take = async (key: string, group?: string): Promise<number> => {
    await pools.share({ key, label: key, ...(group === undefined ? {} : { group }) }, ++link);
    return link;
  };
  const first = await take("a", "user 7");
  await take("b", "user 7");
  await take("c", "user 7");
  await expect(take("d", "user 7")).rejects.toMatchObject({
    code: "ELIMIT",
    message: expect.stringContaining("user 7"),
  });
  // One that is there already is not another one.
  await take("c", "user 7");
  for (const key of ["e", "f"]) await take(key, "user 8");
  for (const key of ["g", "h", "i"]) await take(key);
  await expect(take("j")).rejects.toMatchObject({ code: "ELIMIT" });
  pools.leave(first);
  await take("d", "user 7");
});
