// The version of this package, from its package.json, two or three folders above sources and build alike.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

let known: string | undefined;

export function packageVersion(): string {
  known ??= read(dirname(fileURLToPath(import.meta.url)));
  return known;
}

function read(folder: string): string {
  const file = join(folder, "package.json");
  if (existsSync(file)) return (JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version;
  const parent = dirname(folder);
  return parent === folder ? "unknown" : read(parent);
}
