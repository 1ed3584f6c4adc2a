// Finds and loads libinsane.so, once, and refuses readably where INSANE cannot run. Nothing native is touched before the
// first call, so that importing the package succeeds on every platform.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type * as koffi from "koffi";
import { InsaneError } from "../protocol/codes.ts";

/** What decides whether this process can run INSANE at all. */
export interface Host {
  readonly platform: string;
  readonly arch: string;
  /** Version of Node without the `v`. */
  readonly node: string;
  /** Version of glibc, undefined on another libc. Reading it takes 5 ms, so it is only asked for after a failure. */
  readonly glibc: () => string | undefined;
}

export interface Loaded {
  readonly library: koffi.LibraryHandle;
  /** The file it came from. */
  readonly path: string;
}

const OLDEST_NODE = 24;
let loaded: Loaded | undefined;

/**
 * The native library; the first call loads it.
 * Errors: `EPLATFORM` (not Linux with glibc), `ENODE` (Node older than 24), `ELIBRARY` (not found or not loadable).
 */
export function loadLibrary(): koffi.LibraryHandle {
  loaded ??= load(thisHost(), process.env["INSANE_LIBRARY"]);
  return loaded.library;
}

/** Where the library was loaded from, or undefined before the first `loadLibrary`. For `insane doctor`. */
export function libraryPath(): string | undefined {
  return loaded?.path;
}

/** The program that runs an engine in a process of its own: it lies beside the library. Throws `ELIBRARY`. */
export function engineProgram(): string {
  loadLibrary();
  const path = join(dirname(loaded?.path ?? ""), "insane-engine");
  if (existsSync(path)) return path;
  throw new InsaneError("ELIBRARY", `insane-engine was not found at ${path}. ${cure(process.env["INSANE_LIBRARY"])}`, {
    path,
  });
}

export function thisHost(): Host {
  return { platform: process.platform, arch: process.arch, node: process.versions.node, glibc: glibcVersion };
}

/** Loads without remembering: `loadLibrary` for one given host and one given override. */
export function load(host: Host, override: string | undefined): Loaded {
  if (host.platform !== "linux") throw notHere(`this is ${host.platform}`, host);
  if (Number.parseInt(host.node, 10) < OLDEST_NODE) {
    throw new InsaneError(
      "ENODE",
      `INSANE needs Node ${OLDEST_NODE} or newer; this process is Node ${host.node} (${process.execPath}). ` +
        "Start it with a newer one: in a clone `npm run` does that by itself, elsewhere install it from nodejs.org.",
      { node: host.node, oldest: `${OLDEST_NODE}.0.0` },
    );
  }
  const path = locate(host, override);
  try {
    // Required here and not imported above: importing koffi itself throws where it has no build.
    const api = createRequire(import.meta.url)("koffi") as typeof koffi;
    return { library: api.load(path), path };
  } catch (cause) {
    if (host.glibc() === undefined) throw notHere("this system's C library is not glibc", host);
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new InsaneError("ELIBRARY", `${path} cannot be loaded: ${why}. ${cure(override)}`, { path, cause: why });
  }
}

function locate(host: Host, override: string | undefined): string {
  const tried = override ? [override] : candidates(packageRoot(), host.arch);
  const path = tried.find((file) => existsSync(file));
  if (path !== undefined) return path;
  if (host.glibc() === undefined) throw notHere("this system's C library is not glibc", host);
  throw new InsaneError("ELIBRARY", `libinsane.so was not found; looked at ${tried.join(" and ")}. ${cure(override)}`, {
    tried,
  });
}

function candidates(root: string, arch: string): string[] {
  const packaged = join(root, "prebuilt", `linux-${arch}`, "libinsane.so");
  const built = join(root, "build", "release", "libinsane.so");
  // A clone that was packed once has a packaged library too, older than what was built since.
  return existsSync(join(root, "CMakeLists.txt")) ? [built, packaged] : [packaged];
}

function cure(override: string | undefined): string {
  if (override) return "Correct or unset INSANE_LIBRARY, which names it.";
  return "In a clone run `npm run setup`; an installed package brings the library of one processor only: install one packed on this kind of machine, or name a build of your own in INSANE_LIBRARY.";
}

function notHere(what: string, host: Host): InsaneError {
  return new InsaneError(
    "EPLATFORM",
    `INSANE runs on Linux with glibc only; ${what} (${host.platform} ${host.arch}). ` +
      "Run this program on such a system, for instance in a Debian container.",
    { platform: host.platform, arch: host.arch },
  );
}

/** The folder of package.json: two or three levels up, depending on whether this is src/ or dist/src/. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let parent = dirname(folder); parent !== folder; folder = parent, parent = dirname(folder)) {
    const file = join(folder, "package.json");
    if (!existsSync(file)) continue;
    const { name } = JSON.parse(readFileSync(file, "utf8")) as { name?: string };
    if (name === "insane-middleware") return folder;
  }
  throw new InsaneError(
    "ELIBRARY",
    `No package.json of insane-middleware above ${fileURLToPath(import.meta.url)}. Install the package whole, or set INSANE_LIBRARY.`,
  );
}

function glibcVersion(): string | undefined {
  // Without this the report looks up the names of all open sockets.
  const report = process.report as typeof process.report & { excludeNetwork: boolean };
  report.excludeNetwork = true;
  const { header } = report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime;
}
