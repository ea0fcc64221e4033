import { defineConfig } from "vitest/config";
import { COMMAND_TESTS, UNIT_TESTS } from "./test/projects.ts";

export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // much of a test of programs is waiting: both processors have something to do only with one worker more
    maxWorkers: 3,
    projects: [
      { extends: true, test: { name: "unit", include: UNIT_TESTS } },
      { extends: true, test: { name: "command", include: COMMAND_TESTS, globalSetup: ["test/build.ts"] } },
    ],
  },
});
