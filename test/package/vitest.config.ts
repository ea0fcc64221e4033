import { defineConfig } from "vitest/config";

/** npm run test:package: what a user gets, built as npm and the release build it. Apart from the other tests, because these build for themselves. */
export default defineConfig({
  test: {
    include: ["test/package/**/*.test.ts"],
    testTimeout: 300_000,
    hookTimeout: 300_000,
    fileParallelism: false,
  },
});
