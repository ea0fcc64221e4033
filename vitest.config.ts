import { defineConfig } from "vitest/config";
import { COMMAND_TESTS, UNIT_TESTS } from "./test/projects.ts";

export default defineConfig({
  test: {
    testTimeout: 180_000,
    hookTimeout: 120_000,
    // Much of a test of programs is waiting, so that a desk has one worker more than processors. CI has time, and one.
    maxWorkers: process.env.CI ? 1 : 3,
    projects: [
      // Each worker loads the sources once: that is half of what these tests take otherwise.
      { extends: true, test: { name: "unit", include: UNIT_TESTS, isolate: false } },
      { extends: true, test: { name: "command", include: COMMAND_TESTS, globalSetup: ["test/build.ts"] } },
    ],
  },
});
