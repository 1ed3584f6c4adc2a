// Finding and refusing the native library: where it comes from here, and what is said on hosts where it cannot run.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { type Host, libraryPath, load, loadLibrary, thisHost } from "../../src/native/library.ts";

const folder = mkdtempSync(join(tmpdir(), "insane-library-"));
afterAll(() => rmSync(folder, { recursive: true }));

const host = (other: Partial<Host>): Host => ({ ...thisHost(), ...other });
const musl = (): undefined => undefined;

function refusal(other: Partial<Host>, override?: string): { code: string; message: string } {
  try {
    load(host(other), override);
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error("it was loaded");
}

test("the library of the clone is loaded once, and its place is known", () => {
  const first = loadLibrary();
  expect(loadLibrary()).toBe(first);
  expect(libraryPath()).toMatch(/libinsane\.so$/);
});

test("another platform is refused with what is needed instead", () => {
  const { code, message } = refusal({ platform: "darwin", arch: "arm64" });
  expect(code).toBe("EPLATFORM");
  expect(message).toMatch(/Linux with glibc only.*darwin arm64.*container/);
});

test("an old Node is refused with both versions", () => {
  const { code, message } = refusal({ node: "20.20.2" });
  expect(code).toBe("ENODE");
  expect(message).toMatch(/Node 24 or newer.*20\.20\.2/);
});

test("another C library is named as the reason once loading has failed", () => {
  const broken = join(folder, "libmusl.so");
  writeFileSync(broken, "not a library");
  expect(refusal({ glibc: musl }, broken).code).toBe("EPLATFORM");
  expect(refusal({ glibc: musl }, join(folder, "missing.so")).message).toMatch(/not glibc/);
});

test("a library that is not there or not loadable is named, with the way out", () => {
  const missing = join(folder, "missing.so");
  expect(refusal({}, missing)).toMatchObject({ code: "ELIBRARY", message: expect.stringContaining(missing) });
  const broken = join(folder, "broken.so");
  writeFileSync(broken, "not a library");
  expect(refusal({}, broken)).toMatchObject({
    code: "ELIBRARY",
    message: expect.stringMatching(/broken\.so cannot be loaded: .+INSANE_LIBRARY/),
  });
});
