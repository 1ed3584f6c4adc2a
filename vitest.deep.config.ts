// Tests of `npm run test:deep`: what takes minutes. One file at a time.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    name: "deep",
    pool: "forks",
    fileParallelism: false,
    include: ["test/deep/**/*.test.ts"],
    passWithNoTests: true,
    reporters: ["default", "./test/ci-reporter.ts"],
    testTimeout: 600_000,
    hookTimeout: 60_000,
  },
});
