import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cleanCopy, ROOT, Scratch } from "./clean-copy.ts";
import { hasRegistry, run, succeed } from "./commands.ts";

const scratch = new Scratch();
afterAll(() => scratch.remove());

const VENDOR = ["run", "--", "cat", "/sys/bus/pci/devices/0000:00:1b.0/vendor"];
const copy = scratch.folder("packer/checkout");
let tarball: string;
let files: readonly string[];

beforeAll(() => {
  cleanCopy(copy);
  const [packed] = JSON.parse(succeed(copy, ["npm", "pack", "--json"])) as [
    { readonly filename: string; readonly files: readonly { readonly path: string }[] },
  ];
  tarball = join(copy, packed.filename);
  files = packed.files.map(({ path }) => path);
});

describe("npm pack of a clean checkout", () => {
  test("builds the command, the library, its types and the manual page", () => {
    const made = [
      "dist/command/main.js",
      "dist/index.js",
      "dist/index.d.ts",
      "dist/devices/kit.js",
      "dist/man/uvfio.1",
    ];
    expect(files).toEqual(expect.arrayContaining([...made, "README.md", "LICENSE", "docs/interposer.md"]));
  });

  test("takes nothing else: no sources, no tests, no code compiled for one machine", () => {
    expect(
      files.filter(
        (file) => !/^(dist|docs)\/|^((README|CHANGELOG|CONTRIBUTING|SECURITY)\.md|LICENSE|package\.json)$/.test(file),
      ),
    ).toEqual([]);
    const built = files.filter((file) => file.startsWith("dist/"));
    expect(
      built.filter(
        (file) =>
          !/\.(js|d\.ts)$|^dist\/view\/(icon\.svg|index\.html|page\.css)$|^dist\/man\/uvfio\.1$|^dist\/command\/(package\.json|help\/[a-z-]+\.txt)$/.test(
            file,
          ),
      ),
    ).toEqual([]);
  });

  test("names no folder of the machine that it was packed on", () => {
    const unpacked = scratch.folder("unpacked");
    succeed(unpacked, ["tar", "-xzf", tarball]);
    for (const folder of [scratch.path, ROOT.replace(/\/$/, "")])
      expect(run(unpacked, ["grep", "-rlaF", folder, "."]), folder).toMatchObject({ status: 1, stdout: "" });
  });

  test("leaves the command executable in the checkout", () => {
    expect(statSync(join(copy, "dist/command/main.js")).mode & 0o111).toBe(0o111);
    expect(succeed(copy, ["dist/command/main.js", "--version"])).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe.skipIf(!hasRegistry())("the package, installed", () => {
  const project = scratch.folder("project");

  beforeAll(() => {
    succeed(project, ["npm", "init", "-y"]);
    const { status, stderr } = run(project, ["npm", "install", "--prefer-offline", tarball]);
    expect(status, stderr).toBe(0);
    // koffi's install script would be warned of here.
    expect(stderr).toBe("");
  });

  test("has a command that runs programs", () => {
    expect(succeed(project, ["npx", "uvfio", "--version"])).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(succeed(project, ["node_modules/.bin/uvfio", ...VENDOR])).toBe("0x8086\n");
  });

  test("leaves nothing in itself at its first run", () => {
    const of = (folder: string) => readdirSync(join(project, "node_modules/uvfio", folder)).sort();
    const expected = files
      .map((file) => /^dist\/command\/([^/]+)/.exec(file)?.[1])
      .filter((name) => name !== undefined);
    expect(of("dist/command")).toEqual([...new Set(expected)].sort());
  });

  test("is a library with all its entries", () => {
    writeFileSync(
      join(project, "use.mjs"),
      `import * as library from "uvfio";
       import { SystemTransport } from "uvfio/system";
       import * as kit from "uvfio/device";
       import { ERRNO } from "uvfio/uapi/errno";
       console.log(typeof library.Host, typeof SystemTransport, typeof new SystemTransport(), Object.keys(kit).length > 0, ERRNO.EINVAL);`,
    );
    expect(succeed(project, ["node", "use.mjs"])).toBe("function function object true 22\n");
  });

  test("says which package is missing where the optional ones were left out", () => {
    const bare = scratch.folder("bare");
    succeed(bare, ["npm", "init", "-y"]);
    succeed(bare, ["npm", "install", "--prefer-offline", "--omit=optional", tarball]);
    const { status, stdout, stderr } = run(bare, ["npx", "uvfio", ...VENDOR]);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^uvfio: the package @koromix\/koffi-linux-\S+ is missing: [^\n]*\n$/);
    expect(status).toBe(2);
  });

  test("with npm install --global: the command and the manual page", () => {
    const prefix = scratch.folder("prefix");
    succeed(prefix, ["npm", "install", "--global", "--prefer-offline", "--prefix", prefix, tarball]);
    expect(succeed("/", [join(prefix, "bin/uvfio"), ...VENDOR])).toBe("0x8086\n");
    expect(existsSync(join(prefix, "share/man/man1/uvfio.1"))).toBe(true);
  });

  test("with npx alone", () => {
    const empty = scratch.folder("empty");
    expect(succeed(empty, ["npx", "--yes", "--prefer-offline", "--package", tarball, "uvfio", ...VENDOR])).toBe(
      "0x8086\n",
    );
  });

  test("with pnpm, which gives a package only what it asks for", () => {
    const other = scratch.folder("with-pnpm");
    const pnpm = (...args: string[]) => succeed(other, ["npx", "--yes", "--prefer-offline", "pnpm@10", ...args]);
    succeed(other, ["npm", "init", "-y"]);
    pnpm("add", "--prefer-offline", "--store-dir", scratch.folder("pnpm-store"), tarball);
    expect(pnpm("exec", "uvfio", ...VENDOR)).toBe("0x8086\n");
  });
});
