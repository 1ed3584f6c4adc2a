// Adds up test counts and prints the one closing line `N passed, N failed, N skipped`; exit code 1 if anything failed.
//   closing-line.ts COUNTS RUNS        COUNTS: one {"passed","failed","skipped"} a line, RUNS: how many there must be
//   closing-line.ts --from-junit FILE  prints such a line for a report of ctest
import { readFileSync } from "node:fs";

type Counts = { passed: number; failed: number; skipped: number };

function fromJunit(file: string): Counts {
  const suite = /<testsuite\b[^>]*>/s.exec(readFileSync(file, "utf8"))?.[0];
  if (suite === undefined) throw new Error(`${file}: no <testsuite> in it; ctest was cut short`);
  const attribute = (name: string): number => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
  const failed = attribute("failures") + attribute("errors");
  const skipped = attribute("skipped") + attribute("disabled");
  return { passed: attribute("tests") - failed - skipped, failed, skipped };
}

const [first, second] = process.argv.slice(2);
if (first === undefined || second === undefined) {
  console.error("usage: closing-line.ts COUNTS RUNS | closing-line.ts --from-junit FILE");
  process.exit(2);
}
if (first === "--from-junit") console.log(JSON.stringify(fromJunit(second)));
else {
  const lines = readFileSync(first, "utf8").split("\n").filter(Boolean);
  const sum: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const line of lines) {
    const one = JSON.parse(line) as Counts;
    sum.passed += one.passed;
    sum.failed += one.failed;
    sum.skipped += one.skipped;
  }
  // A run that ended without counting, because its build failed or it crashed, is a failure.
  sum.failed += Math.max(0, Number(second) - lines.length);
  console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
  if (sum.failed > 0) process.exitCode = 1;
}
