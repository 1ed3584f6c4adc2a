// What a user gets: the packed tarball, installed by npm into a folder of its own, used there by name. The lock file for
// that folder is cut out of the clone's, so npm finds every dependency in its cache and asks no registry for versions.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

interface LockEntry {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}
type Lock = { readonly packages: Readonly<Record<string, LockEntry>> };
type Manifest = { readonly name: string; readonly version: string; readonly bin: Readonly<Record<string, string>> };

const root = fileURLToPath(new URL("../..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest & LockEntry;
const folder = mkdtempSync(join(tmpdir(), "insane-package-"));
const installed = join(folder, "node_modules", manifest.name);

/** Standard output; on failure an error with both outputs, since npm and tsc explain themselves on either. */
function run(command: string, args: string[], cwd: string, env: NodeJS.ProcessEnv): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, env, encoding: "utf8", timeout: 60_000 });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}

function npm(args: string[], cwd: string): string {
  const script = process.env["npm_execpath"];
  const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}` };
  return script?.endsWith(".js") ? run(process.execPath, [script, ...args], cwd, env) : run("npm", args, cwd, env);
}

function node(args: string[]): string {
  const { INSANE_LIBRARY: _, ...env } = process.env;
  return run(process.execPath, args, folder, env);
}

/** The entries of the clone's lock file that the package's own dependencies reach. */
function reachable(lock: Lock): Record<string, LockEntry> {
  const found: Record<string, LockEntry> = {};
  const visit = (from: string, entry: LockEntry): void => {
    for (const name of Object.keys({
      ...entry.dependencies,
      ...entry.optionalDependencies,
      ...entry.peerDependencies,
    })) {
      // As Node looks it up: in the dependent's own node_modules first, then outwards.
      let place = from;
      let key = join(place, "node_modules", name);
      while (!(key in lock.packages) && place !== "") {
        place = place.includes("/node_modules/") ? place.slice(0, place.lastIndexOf("/node_modules/")) : "";
        key = join(place, "node_modules", name);
      }
      const next = lock.packages[key];
      if (next === undefined || key in found) continue;
      found[key] = next;
      visit(key, next);
    }
  };
  visit("", { ...(manifest.dependencies && { dependencies: manifest.dependencies }) });
  return found;
}

beforeAll(() => {
  npm(["pack", "--pack-destination", folder], root);
  const tarball = `file:${readdirSync(folder).find((name) => name.endsWith(".tgz"))}`;
  const project = { name: "user", version: "1.0.0", private: true, type: "module" };
  const dependencies = { [manifest.name]: tarball };
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as Lock;
  const { version, bin } = manifest;
  const self = {
    version,
    resolved: tarball,
    bin,
    ...(manifest.dependencies && { dependencies: manifest.dependencies }),
  };
  writeFileSync(join(folder, "package.json"), JSON.stringify({ ...project, dependencies }));
  writeFileSync(
    join(folder, "package-lock.json"),
    JSON.stringify({
      ...project,
      lockfileVersion: 3,
      requires: true,
      packages: {
        "": { name: project.name, version: project.version, dependencies },
        [`node_modules/${manifest.name}`]: self,
        ...reachable(lock),
      },
    }),
  );
  npm(["ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"], folder);
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the package holds JavaScript, types and the library of this processor, and no sources or tests", () => {
  expect(existsSync(join(installed, "dist/src/index.js"))).toBe(true);
  expect(existsSync(join(installed, "dist/src/index.d.ts"))).toBe(true);
  expect(existsSync(join(installed, `prebuilt/linux-${process.arch}/libinsane.so`))).toBe(true);
  expect(readdirSync(installed).filter((name) => ["src", "test", "models", "tools", "scripts"].includes(name))).toEqual(
    [],
  );
});

test("installing it brings neither a Node nor the tools of a clone", () => {
  const modules = readdirSync(join(folder, "node_modules"));
  expect(modules.filter((name) => /^(node-linux|@biomejs|typescript|vitest|sharp|vega-datasets)/.test(name))).toEqual(
    [],
  );
});

test("an application imports it by name and a message goes from a source to a sink", () => {
  const program = `
    import { Runtime } from "insane-middleware";
    await using runtime = await Runtime.embed({ socket: null, network: { enabled: false }, log: { level: "silent" } });
    await using session = await runtime.connect({ name: "user" });
    const stream = await session.createStream();
    const sink = await stream.createSink(1);
    const source = await stream.createSource(1);
    await source.matched();
    const buffer = source.getBuffer(5);
    buffer.bytes.set(new TextEncoder().encode("hello"));
    source.emit(buffer);
    const message = await sink.consume();
    console.log(new TextDecoder().decode(message.copy()));
    message.release();
  `;
  writeFileSync(join(folder, "user.js"), program);
  expect(node(["user.js"])).toBe("hello\n");
});

test("the types say what the code does", () => {
  const program = `
    import { connect, type Message, Runtime, type Session } from "insane-middleware";
    export const first = async (session: Session): Promise<Uint8Array> => {
      const stream = await session.createStream({ acceleration: "fast", consumption: "low" });
      const sink = await stream.createSink(42, (message: Message) => message.release());
      // @ts-expect-error a channel is a number
      await stream.createSource("42");
      return (await sink.consume()).copy();
    };
    export const open: [typeof connect, typeof Runtime.embed] = [connect, Runtime.embed];
  `;
  writeFileSync(join(folder, "user.ts"), program);
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  // dom: effect names web types. The user has @types/node, as every Node project. Not skipLibCheck: what our own
  // declarations import must be there too.
  const flags =
    "--noEmit --strict --module nodenext --target es2024 --lib es2024,esnext.disposable,dom --types node".split(" ");
  expect(node([tsc, ...flags, "--typeRoots", join(root, "node_modules/@types"), "user.ts"])).toBe("");
});

test("the command is there and says what it can do", () => {
  expect(node([join(folder, "node_modules/.bin/insane"), "--help"])).toMatch(/insane/);
});
