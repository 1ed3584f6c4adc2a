// Ends a Vitest run with the plain line that continuous integration reads. When INSANE_COUNTS names a file the counts
// are appended there instead, for scripts/closing-line.ts to add them to those of the C tests.
import { appendFileSync } from "node:fs";
import type { Reporter } from "vitest/node";

export default class CiReporter implements Reporter {
  onTestRunEnd: NonNullable<Reporter["onTestRunEnd"]> = (modules, unhandled) => {
    const counts = { passed: 0, failed: unhandled.length, skipped: 0, pending: 0 };
    for (const module of modules) {
      // A file that could not even be loaded has no tests to fail.
      counts.failed += module.errors().length;
      for (const test of module.children.allTests()) counts[test.result().state]++;
    }
    // Pending at the end: the run was cut short.
    const total = { passed: counts.passed, failed: counts.failed + counts.pending, skipped: counts.skipped };
    const file = process.env["INSANE_COUNTS"];
    if (file) appendFileSync(file, `${JSON.stringify(total)}\n`);
    else console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  };
}
