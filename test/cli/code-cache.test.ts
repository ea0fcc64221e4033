import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Script } from "node:vm";
import { afterAll, describe, expect, test } from "vitest";
import { compiledGroups } from "../../scripts/start/compiled.mjs";
import { finished, ROOT, scratchFolder, UVFIO } from "./uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());

const VARIABLES = { PATH: process.env.PATH };
const start = (env: NodeJS.ProcessEnv, ...args: string[]) =>
  finished(process.execPath, [UVFIO, ...args], { env: { ...VARIABLES, ...env } });
const startWith = (cache: string) => start({ XDG_CACHE_HOME: cache }, "run", "--", "true");

function folder(name: string, mode = 0o700): string {
  const path = join(scratch.path, name);
  mkdirSync(path);
  chmodSync(path, mode);
  return path;
}

/** The one file of a cache. */
function fileOf(cache: string): string {
  const files = readdirSync(join(cache, "uvfio"));
  expect(files).toHaveLength(1);
  return join(cache, "uvfio", files[0]!);
}

/** A cache in which the compiled code is another program's, which V8 takes for the command's: it has the same length. */
function poisoned(name: string): { readonly cache: string; readonly file: string } {
  const cache = folder(name);
  startWith(cache);
  const file = fileOf(cache);
  // the first group of modules is what every command needs (scripts/joined/join.mjs)
  const length = readFileSync(join(ROOT, "dist/command/command.js"), "latin1").indexOf("\n]\n[\n") + "\n]\n".length;
  const code = "(process.stdout.write('poisoned'), process.exit(7))";
  const script = new Script(code.padEnd(length), { filename: "uvfio:first" });
  writeFileSync(file, compiledGroups(undefined).updated(new Map([["first", script]]))!);
  return { cache, file };
}

describe("the cache of compiled code", () => {
  test("is made by the first run, for this user alone, and used by the next", () => {
    const cache = folder("fresh");
    expect(startWith(cache)).toMatchObject({ status: 0, stderr: "" });
    const file = fileOf(cache);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(join(cache, "uvfio")).mode & 0o777).toBe(0o700);
    const { mtimeMs } = statSync(file);
    expect(startWith(cache).status).toBe(0);
    expect(statSync(file).mtimeMs).toBe(mtimeMs);
  });

  test("is in ~/.cache without XDG_CACHE_HOME", () => {
    const home = folder("home");
    expect(start({ HOME: home }, "hosts").status).toBe(0);
    fileOf(join(home, ".cache"));
  });

  test("runs what lies in it: that is why it must be trusted", () => {
    expect(startWith(poisoned("poisoned").cache)).toMatchObject({ status: 7, stdout: "poisoned" });
  });

  test.each<[string, (cache: string, file: string) => void]>([
    ["a file that others can write", (_, file) => chmodSync(file, 0o666)],
    ["a file in a folder that others can write", (cache) => chmodSync(join(cache, "uvfio"), 0o777)],
    ["a file in a folder in one that its group can write", (cache) => chmodSync(cache, 0o770)],
    [
      "a file that is a link",
      (cache, file) => {
        writeFileSync(join(cache, "elsewhere"), readFileSync(file));
        finished("mv", [join(cache, "elsewhere"), `${file}.real`]);
        finished("rm", [file]);
        symlinkSync(`${file}.real`, file);
      },
    ],
  ])("%s is not used", (name, spoil) => {
    const { cache, file } = poisoned(name.replaceAll(" ", "-"));
    spoil(cache, file);
    expect(startWith(cache)).toMatchObject({ status: 0, stdout: "", stderr: "" });
  });

  test.skipIf(process.getuid?.() !== 0)("that belongs to another user is neither used nor written", () => {
    const { cache, file } = poisoned("of-another");
    finished("chown", ["-R", "1000", cache]);
    const before = readFileSync(file);
    expect(startWith(cache)).toMatchObject({ status: 0, stdout: "" });
    expect(readFileSync(file).equals(before)).toBe(true);
    const home = folder("home-of-another");
    finished("chown", ["1000", home]);
    expect(start({ HOME: home }, "hosts").status).toBe(0);
    expect(readdirSync(home)).toEqual([]);
  });

  test("is made anew when it is damaged", () => {
    const cache = folder("damaged");
    startWith(cache);
    const file = fileOf(cache);
    const whole = readFileSync(file);
    writeFileSync(file, whole.subarray(0, 1000));
    expect(startWith(cache)).toMatchObject({ status: 0, stderr: "" });
    expect(readFileSync(file).length).toBeGreaterThan(whole.length / 2);
  });

  test("need not be there: no home, one that cannot be written, options for V8", () => {
    const { cache } = poisoned("with-options");
    for (const env of [{}, { HOME: "/proc" }, { XDG_CACHE_HOME: "/dev/null" }])
      expect(start(env, "run", "--", "true")).toMatchObject({ status: 0, stderr: "" });
    const options = { XDG_CACHE_HOME: cache, NODE_OPTIONS: "--no-warnings" };
    expect(start(options, "run", "--", "true")).toMatchObject({ status: 0, stdout: "", stderr: "" });
  });

  test("keeps few files", () => {
    const cache = folder("full");
    mkdirSync(join(cache, "uvfio"), { mode: 0o700 });
    for (let i = 0; i < 20; i++) writeFileSync(join(cache, "uvfio", `old-${i}`), "");
    startWith(cache);
    expect(readdirSync(join(cache, "uvfio")).length).toBeLessThan(10);
  });
});
