import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { finished, ROOT, scratchFolder, UVFIO } from "./uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

/** Written to the file that STARTED names when node ends: what it has opened by itself, and which of its own modules are loaded. */
const PROBE = `
const fs = require("node:fs");
const opened = [];
for (const name of ["openSync", "readFileSync"]) {
  const real = fs[name];
  fs[name] = (path, ...rest) => {
    if (typeof path === "string") opened.push(path);
    return real(path, ...rest);
  };
}
process.on("exit", () => {
  const file = process.env.STARTED;
  fs.writeFileSync(file, JSON.stringify({ opened, modules: process.moduleLoadList }));
});
`;

interface Started {
  readonly stdout: string;
  readonly opened: readonly string[];
  readonly modules: readonly string[];
}

function started(...args: string[]): Started {
  const probe = join(scratch.path, "probe.cjs");
  const list = join(scratch.path, "started.json");
  writeFileSync(probe, PROBE);
  const { status, stdout } = finished(process.execPath, ["--require", probe, UVFIO, ...args], {
    env: { PATH: process.env.PATH, STARTED: list },
  });
  expect(status).toBe(0);
  return { stdout, ...(JSON.parse(readFileSync(list, "utf8")) as Omit<Started, "stdout">) };
}

const ours = ({ opened }: Started) =>
  opened.map((path) => path.replace(ROOT, "")).filter((path) => /^dist\/command\/(?!main\.js)/.test(path));

describe("a start", () => {
  test("that prints the version reads nothing", () => {
    const start = started("--version");
    expect(start.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(ours(start)).toEqual([]);
  });

  test.each([[[]], [["run"]], [["fit"]], [["device-server"]]])(
    "that prints help reads the text alone: %j",
    (command) => {
      const start = started(...command, "--help");
      expect(ours(start)).toEqual([`dist/command/help/${command[0] ?? "uvfio"}.txt`]);
      // as the command itself prints it
      expect(start.stdout).toBe(started("help", ...command).stdout);
    },
  );

  test("of a program reads one group of modules, and loads little of node", () => {
    const start = started("run", "--", "true");
    expect(ours(start)).toEqual(["dist/command/command.js"]);
    const heavy = ["net", "tty", "crypto", "child_process", "perf_hooks", "os", "module"];
    const loaded = (name: string) => start.modules.includes(`NativeModule ${name}`);
    const always = started("--version").modules;
    expect(heavy.filter((name) => loaded(name) && !always.includes(`NativeModule ${name}`))).toEqual([]);
  });
});
