import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { IOMMUFD_LAYOUTS } from "./iommufd-header.ts";
import { PROPOSED_LAYOUTS } from "./proposals.ts";
import { LAYOUTS } from "./vfio-header.ts";

/**
 * layouts.txt has sizes and offsets as gcc computed them from the headers of several releases, so it also holds structures that
 * the header installed here is too old for. Sections whose layouts are not written yet are listed, not skipped in silence.
 */
const HELD_SECTIONS = ["vfio.h (v6.16) + newer", "iommufd.h (6.12 base + newer)", "iommu.h 5.10-5.17 and vSVA v7"];
const SECTIONS_FOR_LATER: string[] = [];

/** Members of anonymous unions that the table leaves out. */
const BEYOND_THE_TABLE = new Set(["vfio_eeh_pe_op.err", "iommu_hw_info_v617.in_data_type"]);

interface TableStruct {
  section: string;
  name: string;
  size: number;
  fields: { offset: number; spelling: string; name: string; size: number }[];
}

function readTable(text: string): TableStruct[] {
  const structs: TableStruct[] = [];
  let section = "";
  for (const line of text.split("\n").filter((line) => line !== "")) {
    const heading = /^#### (.*)$/.exec(line);
    const begin = /^struct (\w+) size=(\d+)$/.exec(line);
    const field = /^ +(\d+) {2}(.*?) ?\*?(\w+)(?:\[(\d*)\])?(?: \((\d+|union\/struct)\))?$/.exec(line);
    if (heading) section = heading[1]!;
    else if (begin) structs.push({ section, name: begin[1]!, size: Number(begin[2]), fields: [] });
    else if (field) {
      const [, offset, type, name, count, size] = field;
      const star = line.includes("*") ? " *" : "";
      const suffix = count === undefined ? "" : `[${count}]`;
      structs.at(-1)!.fields.push({
        offset: Number(offset),
        spelling: `${type}${star}${suffix}`,
        name: name!,
        size: Number(size ?? 0),
      });
    } else throw new Error(`layouts.txt: cannot read "${line}"`);
  }
  return structs;
}

const table = readTable(readFileSync(new URL("layouts.txt", import.meta.url), "utf8"));
const byName = new Map(
  [...LAYOUTS.values(), ...IOMMUFD_LAYOUTS.values(), ...PROPOSED_LAYOUTS].map((layout) => [layout.name, layout]),
);

describe("the table of layouts", () => {
  it("has only sections that are held here or known to come later", () => {
    expect([...new Set(table.map((entry) => entry.section))].sort()).toEqual(
      [...HELD_SECTIONS, ...SECTIONS_FOR_LATER].sort(),
    );
  });

  const held = table.filter((entry) => HELD_SECTIONS.includes(entry.section));

  it.each(held)("$name", (entry) => {
    const layout = byName.get(entry.name);
    if (layout === undefined) throw new Error(`no layout for struct ${entry.name}`);
    const ours = Object.keys(layout.fields)
      .filter((name) => !BEYOND_THE_TABLE.has(`${entry.name}.${name}`))
      .map((name) => {
        const { spelling, size } = layout.fields[name];
        const offset = layout.offsets[name];
        // the table only has the place of a union that is defined where it stands
        const isInline = entry.fields.some((field) => field.name === name && Number.isNaN(field.size));
        return isInline ? { offset, spelling: "", name, size: Number.NaN } : { offset, spelling, name, size };
      });
    expect(ours).toEqual(entry.fields);
    expect(layout.size).toBe(entry.size);
  });

  it("leaves no layout out", () => {
    const names = new Set(held.map((entry) => entry.name));
    expect([...byName.keys()].filter((name) => !names.has(name))).toEqual([]);
  });
});
