import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { finished, scratchFolder, UVFIO, uvfio } from "./uvfio.ts";

const scratch = scratchFolder();
afterAll(() => scratch.remove());
const env = { ...process.env, PATH: `${scratch.path}/bin:${process.env.PATH}`, HOME: scratch.path };
const has = (shell: string) => spawnSync(shell, ["--version"]).status === 0;

beforeAll(() => {
  mkdirSync(join(scratch.path, "bin"));
  mkdirSync(join(scratch.path, "folder"));
  const command = join(scratch.path, "bin/uvfio");
  writeFileSync(command, `#!/bin/sh\nexec "${process.execPath}" "${UVFIO}" "$@"\n`);
  chmodSync(command, 0o755);
  writeFileSync(join(scratch.path, "zz-trace.jsonl"), "");
  writeFileSync(join(scratch.path, "zz host.yaml"), "");
});

/** What `uvfio complete` offers for a command line, and what else it asks the shell for. */
function offered(...words: string[]): { readonly values: readonly string[]; readonly also: string } {
  const lines = uvfio("complete", "--", ...words)
    .stdout.trimEnd()
    .split("\n");
  return { values: lines.slice(0, -1).map((line) => line.split("\t")[0]!), also: lines.at(-1)! };
}

describe("uvfio complete", () => {
  test.each([
    ["hosts, and files, for -m", ["fit", "-m", "amd"], ["amd"], ":files"],
    ["releases", ["run", "--kernel", "7."], ["7.1", "7.2"], ":"],
    ["API profiles behind =", ["run", "--api=vsva-v"], ["--api=vsva-v1", "--api=vsva-v7"], ":"],
    ["VMMs", ["fit", "--vmm", "c"], ["cloud-hypervisor", "crosvm"], ":"],
    ["devices of the host", ["iova-list", "-m", "amd", ""], ["0000:01:00.0"], ":"],
    ["a second device", ["fit", "--device", "0000:00:1b.0", "0000:00:1"], ["0000:00:1b.0"], ":"],
    ["requests", ["trace", "--request", "VFIO_IOMMU_MAP"], ["VFIO_IOMMU_MAP_DMA"], ":"],
    ["targets of a fault", ["run", "--fault", "dma:0000:00:1b"], ["dma:0000:00:1b.0="], ":continues"],
    ["their failure", ["run", "--fault", "VFIO_IOMMU_MAP_DMA=ENOMEM"], ["VFIO_IOMMU_MAP_DMA=ENOMEM"], ":"],
    ["the only failure of DMA", ["run", "--fault", "dma:0000:00:1b.0="], ["dma:0000:00:1b.0=fault"], ":"],
    ["files for a trace", ["run", "--trace", ""], [], ":files"],
    ["files for ranges", ["fit", "--ranges", ""], [], ":files"],
    ["files to read", ["trace", ""], [], ":files"],
    ["folders", ["selftests", "--build", ""], [], ":directories"],
    ["programs", ["run", "--", ""], [], ":commands"],
    ["the program's arguments, which are none of ours", ["run", "prog", "--tr"], [], ":files"],
    ["options", ["run", "--trac"], ["--trace"], ":"],
    ["shells", ["completion", "f"], ["fish"], ":"],
    ["commands", ["iova"], ["iova-list"], ":"],
    ["nothing behind a command that there is not", ["nosuch", ""], [], ":"],
    ["nothing for a host that cannot be read", ["iova-list", "-m", "/nonexistent", ""], [], ":"],
  ])("offers %s", (_what, words, values, also) => {
    expect(offered(...words)).toEqual({ values, also });
  });

  test("offers the options of every command, and values or files for all that take one", () => {
    const commands = offered("").values.filter((name) => name !== "help");
    expect(commands.length).toBeGreaterThan(9);
    const silent: string[] = [];
    for (const command of commands) {
      for (const [, flag, placeholder] of uvfio(command, "--help").stdout.matchAll(/(--[a-z-]+) <([a-zA-Z.]+)/g)) {
        const { values, also } = offered(command, flag!, "");
        if (values.length === 0 && also === ":") silent.push(`${command} ${flag} ${placeholder}`);
      }
    }
    // what is a number or a name of somebody's own
    for (const line of silent) expect(line).toMatch(/ (size|n|name|X\.Y|test|fd|port|seconds)$/);
  });
});

type Line = readonly [line: string, words: readonly string[]];

/** Command lines, and what their last word becomes in any shell. */
const LINES: readonly Line[] = [
  ["uvfio iova", ["iova-list"]],
  ["uvfio fit -m power9-", ["power9-4k"]],
  ["uvfio trace zz-", ["zz-trace.jsonl"]],
];

describe.skipIf(!has("bash"))("bash", () => {
  /** As readline does it: words end at = and : too, and only what follows is put in. */
  function completed(line: string): string[] {
    const script = `source <(uvfio completion bash)
      line=$1; COMP_LINE=$line; COMP_POINT=\${#line}
      mapfile -t COMP_WORDS < <(grep -oE '[^ =:]+|[=:]+' <<< "$line"); [[ $line == *" " ]] && COMP_WORDS+=("")
      COMP_CWORD=$(( \${#COMP_WORDS[@]} - 1 )); _uvfio; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = finished("bash", ["-c", script, "bash", line], { env, cwd: scratch.path });
    expect(stderr).toBe("");
    return stdout.trimEnd().split("\n");
  }

  test.each<Line>([
    ...LINES,
    ["uvfio run --api=vsva-v7", ["vsva-v7"]],
    ["uvfio iova-list 0000:00:1", ["1b.0"]],
    ["uvfio run --fault dma:0000:00:1b.0=", ["fault"]],
    ["uvfio run --trace=zz-", ["zz-trace.jsonl"]],
    ["uvfio hosts zz", ["zz host.yaml", "zz-trace.jsonl"]],
    ["uvfio capture --root fo", ["folder"]],
    ["uvfio fit --vmm ", ["q35", "i440fx", "virt", "pseries", "cloud-hypervisor", "crosvm"]],
  ])("%s", (line, words) => {
    expect(completed(line).sort()).toEqual([...words].sort());
  });

  test("needs nothing that is not bash, and registers itself", () => {
    const { stdout, stderr } = finished(
      "bash",
      ["--norc", "-c", "source <(uvfio completion bash); complete -p uvfio"],
      {
        env,
      },
    );
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^complete .*uvfio$/m);
  });
});

describe.skipIf(!has("fish"))("fish (needs fish)", () => {
  test.each<Line>([
    ...LINES,
    ["uvfio run --api=vsva-v7", ["--api=vsva-v7"]],
    ["uvfio iova-list 0000:00:1", ["0000:00:1b.0"]],
    ["uvfio run --trace=zz-", ["--trace=zz-trace.jsonl"]],
    ["uvfio capture --root fo", ["folder/"]],
  ])("%s", (line, words) => {
    const script = "uvfio completion fish | source; complete -C $argv[1]";
    const { stdout } = finished("fish", ["-c", script, line], { env, cwd: scratch.path });
    const values = stdout
      .trimEnd()
      .split("\n")
      .map((each) => each.split("\t")[0]);
    expect(values).toEqual(words);
  });
});

describe.skipIf(!has("zsh"))("zsh (needs zsh)", () => {
  /** Types the line and TAB into a zsh on a terminal, and returns what the line has become. */
  function completed(line: string): string {
    const script = `zmodload zsh/zpty
      zpty z zsh -f -i
      until_seen() { local all= part; repeat 400; do zpty -r -t z part && all+=$part || sleep 0.05; [[ $all == *$1* ]] && break; done; REPLY=$all }
      zpty -w z 'PS1= RPS1=; autoload -Uz compinit; compinit -u -D; source <(uvfio completion zsh); shown() { print -r -- "<$BUFFER>"; BUFFER= }; zle -N shown; bindkey "^I" complete-word "^X" shown; print rea""dy'
      until_seen ready
      zpty -w -n z "$1"$'\\t\\C-x'
      until_seen '>'
      print -r -- "\${\${REPLY##*<}%%>*}"
      zpty -d z`;
    return finished("zsh", ["-f", "-c", script, "zsh", line], { env, cwd: scratch.path }).stdout.trim();
  }

  test.each([
    ["uvfio iova", "uvfio iova-list"],
    ["uvfio fit -m power9-", "uvfio fit -m power9-4k"],
    ["uvfio trace zz-", "uvfio trace zz-trace.jsonl"],
    ["uvfio iova-list 0000:00:1", "uvfio iova-list 0000:00:1b.0"],
    ["uvfio run --trace=zz-", "uvfio run --trace=zz-trace.jsonl"],
  ])("%s", (line, whole) => {
    expect(completed(line)).toBe(whole);
  });

  test("without its completion switched on there is a clear line", () => {
    const { stderr, status } = finished("zsh", ["-f", "-c", "source <(uvfio completion zsh)"], { env });
    expect(stderr).toBe(
      "uvfio: completion is not switched on in this zsh: first run autoload -Uz compinit && compinit\n",
    );
    expect(status).toBe(0);
  });
});

test("a shell that there is no completion for is refused", () => {
  expect(uvfio("completion", "fishh")).toMatchObject({
    status: 2,
    stderr: 'uvfio: completion: no script for "fishh" (did you mean fish?); there are: bash, zsh, fish\n',
  });
});
