import { defineConfig } from "vitest/config";

/** npm run test:package: what a user gets: the package, the single executable, in containers and in CI. Apart from the other tests, because they take longer. */
export default defineConfig({
  test: {
    include: ["test/package/**/*.test.ts"],
    globalSetup: ["test/build.ts"],
    testTimeout: 600_000,
    hookTimeout: 600_000,
    fileParallelism: false,
  },
});
