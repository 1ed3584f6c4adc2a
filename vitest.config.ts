// Tests of `npm test`. Forked processes, so that a native crash fails one file and not the run; two at most, because
// the spinning threads of the integration tests need the cores; integration files one after the other.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    reporters: ["default", "./test/ci-reporter.ts"],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    projects: [
      {
        extends: true,
        test: {
          name: "property",
          include: [
            "test/property/**/*.test.ts",
            "test/models/**/*.test.ts",
            "models/**/*.test.ts",
            "src/**/*.test.ts",
          ],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
