import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const SRC = fileURLToPath(new URL("../src", import.meta.url));

/** Which folders each part may import: docs/design.md. A part may always import itself. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  uapi: [],
  address: [],
  kernel: ["uapi"],
  iommu: ["uapi", "address", "kernel"],
  devices: ["uapi", "address", "kernel", "iommu"],
  machine: ["uapi", "kernel", "iommu", "devices"],
  vfio: ["uapi", "address", "kernel", "machine", "iommu", "devices"],
  iommufd: ["uapi", "address", "kernel", "machine", "iommu", "devices", "vfio"],
  interpose: ["uapi", "kernel"],
  inspect: ["uapi", "address", "kernel", "machine", "iommu", "devices", "vfio", "iommufd"],
  client: ["uapi", "kernel"],
  cli: [
    "uapi",
    "address",
    "kernel",
    "machine",
    "iommu",
    "devices",
    "vfio",
    "iommufd",
    "interpose",
    "inspect",
    "client",
  ],
};

/** Packages that a part may use; everything else is its own work. */
const PACKAGES: Record<string, readonly string[]> = {
  interpose: ["koffi"],
  client: ["koffi"],
  devices: ["koffi"],
  machine: ["yaml", "zod"],
  cli: ["commander"],
};

const files = sources();

function sources(): string[] {
  return readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((file) => /\/.*\.ts$/.test(file));
}

function imports(file: string): string[] {
  const text = readFileSync(join(SRC, file), "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => match[1]!);
}

describe("the parts of src/", () => {
  test.each(files)("%s imports only what lies above it", (file) => {
    const part = file.split("/")[0]!;
    expect(Object.keys(MAY_IMPORT)).toContain(part);
    for (const target of imports(file)) {
      if (target.startsWith("node:")) continue;
      if (!target.startsWith(".")) {
        const name = target.split("/", target.startsWith("@") ? 2 : 1).join("/");
        expect(PACKAGES[part] ?? [], `${file} uses the package ${target}`).toContain(name);
        continue;
      }
      const other = relative(SRC, join(SRC, dirname(file), target)).split("/")[0]!;
      expect([part, ...MAY_IMPORT[part]!], `${file} imports ${target}`).toContain(other);
    }
  });

  test("were found", () => {
    expect(files.length).toBeGreaterThan(50);
  });
});

/** What a file needs other files for when it is loaded: imports of types alone are gone by then. */
function valueImports(file: string): string[] {
  const text = readFileSync(join(SRC, file), "utf8");
  const statements = text.matchAll(/^(?:import|export)\s+(?!type\b)([^;"]*?)\s*from\s+"(\.[^"]+)";/gm);
  return [...statements]
    .filter(([, names]) => !/^\{(?:\s*type\s[^,}]*,?)+\s*\}$/.test(names!))
    .map(([, , target]) => join(dirname(file), target!));
}

test("no circle of values: each file can be loaded before those that need it", () => {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    expect(at < 0 ? [] : [...path.slice(at), file], "a circle of imports").toEqual([]);
    if (done.has(file)) return;
    for (const target of valueImports(file)) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
  expect(done.size).toBeGreaterThan(400);
});
