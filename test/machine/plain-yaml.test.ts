import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readPlainYaml } from "../../src/machine/plain-yaml.ts";
import { readyMadeHosts } from "../../src/machine/ready-made-hosts.ts";
import { toYaml } from "../../src/machine/write-host.ts";
import { YamlSource } from "../../src/machine/yaml-source.ts";

const whole = (text: string) => new YamlSource(text, "file").values();

describe("plain YAML", () => {
  // these have lists in mappings of one line
  const hosts = readyMadeHosts().filter(({ name }) => name !== "s390" && name !== "arm-nesting");
  test.each(hosts.map((host) => [host.name, host] as const))("is what host files are: %s", (_, host) => {
    const text = toYaml(host);
    expect(readPlainYaml(text)).toEqual(whole(text));
  });

  test.each([
    ["a sequence where its key begins", "groups:\n- id: 1\n- id: 2\nname: x\n"],
    ["nothing behind a key", "a:\nb: 1\n"],
    ["nothing at the end", "b: 1\na:\n"],
    ["lists and mappings of a line", "a: [1, 0x2, x]\nb: { c: 1, d: e-f }\nc: []\nd: {}\n"],
    [
      "numbers and what looks like them",
      "a: 007\nb: -5\nc: +5\nd: 0o17\ne: 6.10\nf: 1e3\ng: 123456789012345678901\nh: 0X1\ni: -0\n",
    ],
    ["words of YAML", "a: true\nb: False\nc: ~\nd: null\ne: yes\nf: .inf\n"],
    ["comments on lines of their own", "# top\na: 1\n  # deep\n\nb: 2\n"],
    ["colons within", 'a: 00:1f.2\nb: "0000:00:1f.2"\n'],
    ["mappings in sequences in mappings", "a:\n  - b: 1\n    c:\n      - d: 2\n        e: 3\n  - b: 4\nf: 5\n"],
  ])("has %s", (_, text) => {
    expect(readPlainYaml(text)).toBeDefined();
    expect(readPlainYaml(text)).toEqual(whole(text));
  });

  test.each([
    "a: &x 1\nb: *x\n",
    "a: |\n  text\n",
    "a: one\n  two\n",
    "a: 1\na: 2\n",
    "__proto__: 1\n",
    "- - 1\n",
    "a: x # y\n",
    "a: x: y\n",
    'a: "\\n"\n',
    "a: [1, [2]]\n",
    "---\na: 1\n",
    "a:\n    b: 1\n  c: 2\n",
    "null: 1\n",
    "a:\tb\n",
    "{a: 1}\n",
    "",
  ])("is not %j", (text) => {
    expect(readPlainYaml(text)).toBeUndefined();
  });

  test("means the same to both readers, whatever it is", () => {
    const piece = fc.constantFrom(
      ..."ab1-:,#[]{}\"' \n~.x0&*!|>%@?\\",
      "\n  ",
      "\n- ",
      ": ",
      "key: ",
      "  - ",
      "true",
      "0x1f",
      "null",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const text = pieces.join("");
        const values = readPlainYaml(text);
        if (values !== undefined) expect(values).toEqual(whole(text));
      }),
      { numRuns: 20_000 },
    );
  });
});
