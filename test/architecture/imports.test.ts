import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { PARTS, withTable } from "../../scripts/design/parts.mjs";
import { circles, FILES, IMPORTS, partOf } from "./sources.ts";

const byName = new Map(PARTS.map((part) => [part.name, part]));

/** Files that name each other's types, and why that is how it should be. Nobody of them needs another one to be loaded. */
const TYPE_CIRCLES: readonly { readonly files: readonly string[]; readonly why: string }[] = [
  {
    files: ["kernel/file-description.ts", "kernel/task.ts"],
    why: "a file serves requests of tasks, and a task has files",
  },
  {
    files: ["interpose/process-task.ts", "interpose/program-files.ts"],
    why: "the same for a process that is served: its files are looked up in it",
  },
  {
    files: ["interpose/call-context.ts", "interpose/long-calls.ts", "interpose/swap-in.ts"],
    why: "what a call does aside is done in its context",
  },
  {
    files: ["client/hwpt.ts", "client/ioas.ts", "client/iommufd.ts"],
    why: "an open /dev/iommu makes its objects, and they speak through it",
  },
  {
    files: [
      "cli/fault-each.ts",
      "cli/run-command.ts",
      "cli/run-inspection.ts",
      "cli/run-messages.ts",
      "cli/run-on-command.ts",
      "cli/strace.ts",
    ],
    why: "they share the options of `uvfio run`",
  },
];

describe("the parts of src/", () => {
  test("were found", () => {
    expect(FILES.length).toBeGreaterThan(400);
    expect([...new Set(FILES.map(partOf))].sort()).toEqual([...byName.keys()].sort());
  });

  test.each(FILES)("%s imports only what lies above it", (file) => {
    const part = byName.get(partOf(file))!;
    for (const { target, isPackage } of IMPORTS.get(file)!) {
      if (target.startsWith("node:")) continue;
      const name = isPackage ? target.split("/", target.startsWith("@") ? 2 : 1).join("/") : partOf(target);
      const allowed = isPackage ? (part.packages ?? []) : [part.name, ...part.imports];
      expect(allowed, `${file} imports ${target}`).toContain(name);
    }
  });

  test.each(PARTS)("$name imports all that it is said to import", ({ name, imports }) => {
    const targets = FILES.filter((file) => partOf(file) === name).flatMap((file) => IMPORTS.get(file)!);
    const others = new Set(targets.filter(({ isPackage }) => !isPackage).map(({ target }) => partOf(target)));
    expect(imports.filter((other) => !others.has(other))).toEqual([]);
  });

  test("import one way: no part is below itself", () => {
    const below = new Set<string>();
    for (const { name, imports } of PARTS) {
      expect(
        imports.filter((other) => !below.has(other)),
        `${name} imports parts that come later in the table`,
      ).toEqual([]);
      below.add(name);
    }
  });

  test("are in docs/design.md as they are (npm run docs:design)", () => {
    const page = readFileSync(new URL("../../docs/design.md", import.meta.url), "utf8");
    expect(page).toBe(withTable(page));
  });
});

describe("circles of files", () => {
  const targets = (file: string, withTypes: boolean) =>
    IMPORTS.get(file)!
      .filter(({ isPackage, isType }) => !isPackage && (withTypes || !isType))
      .map(({ target }) => target);

  test("of values there are none: each file can be loaded before those that need it", () => {
    expect(circles((file) => targets(file, false))).toEqual([]);
  });

  test("of types there are those that have a reason", () => {
    const allowed = TYPE_CIRCLES.map(({ files }) => [...files].sort());
    const found = circles((file) => targets(file, true));
    expect(found.filter((circle) => !allowed.some((each) => each.join() === circle.join()))).toEqual([]);
    expect(allowed.filter((circle) => !found.some((each) => each.join() === circle.join()))).toEqual([]);
  });
});
