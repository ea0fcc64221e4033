import fc from "fast-check";
import { expect, test } from "vitest";
import { FileIndex } from "../../src/kernel/file-index.ts";
import { FileLookup } from "../../src/kernel/file-lookup.ts";
import type { FileTree } from "../../src/kernel/file-tree.ts";

const part = (names: { directories?: string[]; files?: string[]; links?: [string, string][] }): FileTree => ({
  grafts: [],
  directories: names.directories ?? [],
  files: new Map((names.files ?? []).map((path) => [path, { content: `${path}\n`, mode: 0o444 }])),
  links: new Map(names.links ?? []),
});

test("what only led to a file goes with it, and not what another part has too", () => {
  const index = new FileIndex();
  const one = part({ files: ["/a/b/one"], directories: ["/a/empty"] });
  const other = part({ files: ["/a/c/two"], directories: ["/a/b"] });
  index.add(one);
  index.add(other);
  expect(index.names("/a")).toEqual(["b", "c", "empty"]);
  index.remove(one);
  expect(index.names("/a")).toEqual(["b", "c"]);
  expect(index.find("/a/b")).toEqual({ kind: "directory" });
  expect(index.find("/a/b/one")).toBeUndefined();
  index.remove(other);
  expect(index.find("/a")).toBeUndefined();
  expect(index.names("/")).toEqual([]);
});

const path = fc
  .array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 4 })
  .map((names) => `/d${names.join("/d")}`);

test("parts that come and go leave what the others have", () => {
  const parts = fc.array(
    fc.record({ directories: fc.uniqueArray(path), files: fc.uniqueArray(path.map((at) => `${at}/f`)) }),
  );
  fc.assert(
    fc.property(parts, parts, (kept, gone) => {
      // a file of one name in two parts is a mistake of who makes them
      const named = (list: typeof kept, suffix: string) =>
        list.map(({ directories, files }, n) =>
          part({ directories, files: files.map((file) => `${file}${suffix}${n}`) }),
        );
      const index = new FileIndex();
      const [stay, leave] = [named(kept, "s"), named(gone, "l")];
      for (const each of [...stay, ...leave]) index.add(each);
      for (const each of leave) index.remove(each);
      const alone = new FileIndex();
      for (const each of stay) alone.add(each);
      const listed = ({ directories, files }: FileTree) => ({ directories, files: [...files.keys()].sort() });
      expect(listed(index.snapshot())).toEqual(listed(alone.snapshot()));
    }),
  );
});

test("links are followed, 40 of them", () => {
  const links: [string, string][] = Array.from({ length: 45 }, (_, n) => [
    `/l${n}`,
    n === 0 ? "x/../file" : `l${n - 1}`,
  ]);
  const names = new FileLookup(FileIndex.of(part({ files: ["/file", "/x/y"], links: [...links, ["/self", "/self"]] })));
  expect(names.find("/l39")?.kind).toBe("file");
  expect(names.find("/l40")).toBeUndefined();
  expect(names.readlink("/l40")).toBe("l39");
  expect(names.resolve("/self")).toBeUndefined();
  expect(names.resolve("/x/../x/./y")).toBe("/x/y");
  expect(names.list("/x")).toEqual(["y"]);
});
