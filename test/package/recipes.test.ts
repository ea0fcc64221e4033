import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { cleanCopy, Scratch } from "./clean-copy.ts";
import { hasRegistry, succeed } from "./commands.ts";

const scratch = new Scratch();
afterAll(() => scratch.remove());

interface Action {
  readonly inputs: Readonly<Record<string, { readonly default: string }>>;
  readonly runs: { readonly using: string; readonly steps: readonly Step[] };
}

interface Step {
  readonly name: string;
  readonly shell: string;
  readonly run: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Does the steps of a composite action as GitHub's runner does; returns what they print, and PATH for the steps behind it. */
function runAction(checkout: string, inputs: Readonly<Record<string, string>>) {
  const action = parse(readFileSync(join(checkout, "action.yml"), "utf8")) as Action;
  expect(action.runs.using).toBe("composite");
  const pathFile = join(scratch.folder("runner"), "path");
  writeFileSync(pathFile, "");
  const value = (text: string) =>
    text.replace(/\$\{\{ inputs\.(\w+) \}\}/g, (_, name: string) => inputs[name] ?? action.inputs[name]!.default);
  const added = () => readFileSync(pathFile, "utf8").split("\n").filter(Boolean).reverse();
  const path = () => [...added(), process.env.PATH].join(":");
  let output = "";
  for (const step of action.runs.steps) {
    expect(step.shell).toBe("bash");
    const env = Object.fromEntries(Object.entries(step.env ?? {}).map(([name, text]) => [name, value(text)]));
    const runner = {
      PATH: path(),
      GITHUB_PATH: pathFile,
      GITHUB_ACTION_PATH: checkout,
      RUNNER_TEMP: scratch.folder("runner/temp"),
      npm_config_prefer_offline: "true",
    };
    const bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.run];
    output += succeed(scratch.folder("runner/work"), bash, { ...env, ...runner });
  }
  return { output, path: path() };
}

// With UVFIO_RECIPES=1: it installs all development packages anew, which depends on the registry for minutes.
describe.skipIf(!process.env.UVFIO_RECIPES || !hasRegistry())("action.yml", () => {
  const checkout = scratch.folder("action");

  test("installs uvfio from its own checkout; later steps have it", () => {
    cleanCopy(checkout, { packages: false });
    const { output, path } = runAction(checkout, {});
    expect(output.trimEnd().split("\n").at(-1)).toBe("0x8086");
    expect(succeed("/", ["sh", "-c", "command -v uvfio"], { PATH: path })).toBe(
      `${join(scratch.path, "runner/temp/uvfio/bin/uvfio")}\n`,
    );
  });

  test("installs the package that it is given", () => {
    const [tarball] = String(succeed(checkout, ["sh", "-c", "ls $PWD/uvfio-*.tgz"])).split("\n");
    const { output } = runAction(checkout, { package: tarball! });
    expect(output.trimEnd().split("\n").at(-1)).toBe("0x8086");
  });
});
