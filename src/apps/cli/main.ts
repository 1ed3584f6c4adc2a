#!/usr/bin/env node
// The program `insane`. Looks at the version of Node before anything is loaded that an old one cannot even parse.
const major = Number.parseInt(process.versions.node, 10);
if (major < 24) {
  process.stderr.write(
    `insane: ENODE: Node 24 or newer is needed; this is Node ${process.versions.node} (${process.execPath}). Install a newer one from nodejs.org; in a clone \`npm run insane\` brings its own.\n`,
  );
  process.exitCode = 1;
} else {
  const { run } = await import("./run.ts");
  process.exitCode = await run(process.argv.slice(2));
}
