import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { finished, ROOT, UVFIO, uvfio } from "./uvfio.ts";

describe("did you mean", () => {
  test.each([
    ["a host", ["fit", "-m", "admd", "--memory", "1G"], 'unknown host "admd" (did you mean amd?); ready-made hosts: '],
    ["a VMM", ["fit", "-m", "amd", "--memory", "1G", "--vmm", "q53"], 'unknown VMM "q53" (did you mean q35?)'],
    ["a profile", ["run", "--api", "mainlin", "--", "true"], '"mainlin" (did you mean mainline?)'],
    ["a command", ["trac"], "unknown command 'trac' (Did you mean trace?)"],
    ["an option", ["fit", "--memry", "1G"], "unknown option '--memry' (Did you mean --memory?)"],
  ])("%s", (_what, args, message) => {
    const run = uvfio(...args);
    expect(run).toMatchObject({ status: 2, stdout: "", stderr: expect.stringContaining(message) });
    expect(run.stderr).toMatch(/^uvfio: .*\n$/);
  });
});

describe("what is missing", () => {
  test.each([
    ["an argument", ["run"], "missing required argument 'program'; uvfio run --help shows how to write it"],
    [
      "a value",
      ["fit", "--memory"],
      "option '--memory <size>' argument missing; uvfio fit --help shows how to write it",
    ],
    ["a command to be helped with", ["help", "tarce"], "unknown command 'tarce'; uvfio --help lists them"],
    [
      "a folder",
      ["capture", "-o", "/no-such-folder/x"],
      "-o /no-such-folder/x: cannot be written (ENOENT: the folder is not there)",
    ],
    [
      "sense in what is to fail",
      ["run", "--fault-each", "MAPP", "--", "true"],
      '--fault-each "MAPP": "MAPP" is no request',
    ],
  ])("%s is said in one line", (_what, args, message) => {
    const run = uvfio(...args);
    expect(run).toMatchObject({ status: 2, stdout: "", stderr: expect.stringContaining(message) });
    expect(run.stderr).toMatch(/^uvfio: .*\n$/);
  });
});

describe("short addresses", () => {
  test.each([
    ["iova-list", ["iova-list", "00:1b.0"]],
    ["fit", ["fit", "--memory", "1G", "--device", "00:1B.0"]],
    ["run --fault", ["run", "-q", "--fault", "dma:00:1b.0=fault", "--", "true"]],
  ])("uvfio %s", (_what, args) => {
    expect(uvfio(...args).status).toBe(0);
  });
});

describe("the help", () => {
  test.each([
    ["selftests", "default: lab", "default: the tree's"],
    ["replay", "default: the host that the trace", "default: the host's"],
    ["fit", "default: intel", "default: the host's"],
  ])("of %s says which host and release it takes, and nothing else", (command, host, kernel) => {
    const help = uvfio(command, "--help").stdout.replaceAll(/\s+/g, " ");
    expect(help).toContain(host);
    expect(help).toContain(kernel);
    expect(help.match(/\(default: (intel|lab|the host that)/g)).toHaveLength(1);
  });
});

describe("the lines of a run", () => {
  const failing = ["run", "--fault", "open=ENOMEM", "--", "bash", "-c", ": 3<> /dev/vfio/vfio"];
  /** On a terminal, which script(1) makes. */
  const onTerminal = (env: NodeJS.ProcessEnv) => {
    const line = [process.execPath, UVFIO, ...failing].map((word) => `'${word}'`).join(" ");
    return finished("script", ["-qec", line, "/dev/null"], {
      env: { ...process.env, TERM: "xterm", ...env },
    }).stdout.replaceAll("\u001b", "ESC");
  };

  test("are coloured on a terminal, unless NO_COLOR says no", () => {
    expect(onTerminal({ NO_COLOR: "" })).toMatch(
      /^ESC\[2muvfio: ESC\[22mbash\[\d+\]: openat \/dev\/vfio\/vfio = ESC\[31mENOMEMESC\[39m: injected/,
    );
    expect(onTerminal({ NO_COLOR: "1" })).toMatch(/^uvfio: bash\[\d+\]: openat/);
    expect(onTerminal({ NO_COLOR: "", TERM: "dumb" })).toMatch(/^uvfio: bash\[\d+\]: openat/);
  });

  test("and not in a pipe", () => {
    expect(uvfio(...failing).stderr).toMatch(/^uvfio: bash\[\d+\]: openat \/dev\/vfio\/vfio = ENOMEM: /);
  });
});

test("no text for users speaks of what only this project's makers know", () => {
  const files = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" }).filter((file) =>
    /\.ts$/.test(file),
  );
  for (const file of files) {
    for (const line of readFileSync(join(ROOT, "src", file), "utf8").split("\n")) {
      if (/^\s*(\/\*\*|\*|\/\/|import )/.test(line)) continue;
      for (const [text] of line.matchAll(/"[^"]*"|`[^`]*`/g)) {
        expect(text, file).not.toMatch(/\b(mails?|first system|second system|issue \d)\b/i);
        // a reason in words, not where to read it
        expect(text, file).not.toMatch(/ends with \$\{[^}]*\} \(docs/);
      }
    }
  }
});
