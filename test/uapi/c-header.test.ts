import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { Layout } from "../../src/uapi/layout.ts";
import * as zdev from "../../src/uapi/vfio-zdev.ts";
import { IOMMUFD_CONSTANTS, IOMMUFD_LAYOUTS } from "./iommufd-header.ts";
import { type AnyLayout, CONSTANTS, LAYOUTS, structOf } from "./vfio-header.ts";

/** A kernel header, and what of it is here. */
interface Header {
  /** As it is included, or an absolute path. */
  readonly file: string;
  readonly layouts: readonly AnyLayout[];
  readonly constants: ReadonlyMap<string, number>;
  /** What the oldest header that this test has seen does not have. Anything else that a header lacks is a misspelt name here. */
  readonly newer: readonly RegExp[];
  /** Names that releases dropped. */
  readonly gone: RegExp;
  /** So many of each must at least be compared, so that a broken probe does not pass. */
  readonly least: { readonly numbers: number; readonly fields: number; readonly sizes: number };
}

/** One thing that C can be asked: an expression, and our answer. */
interface Question {
  item: string;
  expression: string;
  ours: number;
}

/** What vfio.h of 6.1 does not have. */
const NEWER_THAN_6_1: readonly RegExp[] = [
  /^__VFIO_RESERVED_TYPE1_NESTING_IOMMU$/,
  /^VFIO_DEVICE_FLAGS_CDX$/,
  /^VFIO_(DEVICE_INFO_CAP_PCI_ATOMIC_COMP|PCI_ATOMIC_COMP\d+)$/,
  /^struct vfio_device_info_cap_pci_atomic_comp\b/,
  // Padding that later headers gave a name.
  /^struct vfio_(device_info|iommu_type1_info)\.pad$/,
  /^struct vfio_device_(gfx_plane_info|ioeventfd)\.reserved$/,
  /^VFIO_CCW_REQ_IRQ_INDEX$/,
  /^VFIO_AP_/,
  /^VFIO_PCI_DEVID_/,
  /^VFIO_PCI_HOT_RESET_FLAG_/,
  /^struct vfio_pci_dependent_device\.devid$/,
  /^struct vfio_device_(bind|attach|detach)_iommufd/,
  /^VFIO_DEVICE_(BIND|ATTACH|DETACH)_/,
  /^VFIO_MIG/,
  /^VFIO_PRECOPY_/,
  /^VFIO_DEVICE_STATE_PRE_COPY/,
  /^struct vfio_precopy_info\b/,
  /^VFIO_DEVICE_FEATURE_(MIG_DATA_SIZE|BUS_MASTER|CLEAR_MASTER|SET_MASTER|DMA_BUF|MIG_PRECOPY_INFOv2|ZPCI_ERROR)$/,
  /^struct vfio_device_feature_(mig_data_size|bus_master|dma_buf)\b/,
  /^struct vfio_region_dma_range\b/,
];

/** What iommufd.h of 6.2, the first, does not have. */
const NEWER_THAN_6_2: readonly RegExp[] = [
  /^IOMMU_(HWPT|GET_HW_INFO|HW_|IOAS_MAP_FILE$|IOAS_CHANGE_PROCESS$|FAULT_QUEUE|VIOMMU|VDEVICE|VEVENTQ|VTD_|PGFAULT)/,
  /^IOMMUFD_PAGE_RESP_/,
  /^struct iommu_(hwpt|hw_|viommu|vdevice|veventq|fault_alloc|ioas_map_file|ioas_change_process)/,
  /^struct iommufd_vevent_header\b/,
];

/**
 * Compares sizes, offsets and numbers with what a C compiler makes of the headers. UVFIO_VFIO_H and UVFIO_IOMMUFD_H name other copies, for
 * instance of a newer release.
 */
const HEADERS: readonly Header[] = [
  {
    file: process.env.UVFIO_VFIO_H ?? "linux/vfio.h",
    layouts: [...LAYOUTS.values()],
    constants: CONSTANTS,
    newer: NEWER_THAN_6_1,
    gone: /^VFIO_TYPE1_NESTING_IOMMU$/,
    least: { numbers: 150, fields: 150, sizes: 30 },
  },
  {
    file: process.env.UVFIO_IOMMUFD_H ?? "linux/iommufd.h",
    layouts: [...IOMMUFD_LAYOUTS.values()],
    constants: IOMMUFD_CONSTANTS,
    newer: NEWER_THAN_6_2,
    gone: /^$/,
    least: { numbers: 15, fields: 40, sizes: 9 },
  },
  {
    file: process.env.UVFIO_VFIO_ZDEV_H ?? "linux/vfio_zdev.h",
    layouts: Object.values(zdev).filter((value): value is AnyLayout => value instanceof Layout),
    constants: new Map([["VFIO_DEVICE_INFO_ZPCI_FLAG_REFRESH", zdev.VFIO_DEVICE_INFO_ZPCI_FLAG_REFRESH]]),
    newer: [],
    gone: /^$/,
    least: { numbers: 1, fields: 20, sizes: 4 },
  },
];

const folder = mkdtempSync(join(tmpdir(), "uvfio-c-header-"));
afterAll(() => rmSync(folder, { recursive: true }));

function gcc(source: string, ...options: string[]): { status: number | null; stderr: string } {
  const path = join(folder, "probe.c");
  writeFileSync(path, source);
  // A header straight from the kernel's tree still has the annotations that its installation strips.
  const annotations = ["-D__user=", "-D__counted_by(x)="];
  const { status, stderr } = spawnSync("gcc", ["-fmax-errors=0", ...annotations, ...options, path], {
    encoding: "utf8",
  });
  return { status, stderr: stderr ?? "" };
}

function program(header: string, questions: readonly Question[]): string {
  const include = header.startsWith("/") ? `"${header}"` : `<${header}>`;
  const lines = questions.map(({ expression }) => `  printf("%lld\\n", (long long)(${expression}));`);
  return [`#include <stdio.h>`, `#include <stddef.h>`, `#include ${include}`, "int main(void) {", ...lines, "}"].join(
    "\n",
  );
}
const FIRST_LINE = 5;

/** Which of the questions the header cannot answer: the lines that do not compile. */
function unanswerable(header: string, questions: readonly Question[]): Set<Question> {
  const { stderr } = gcc(program(header, questions), "-fsyntax-only");
  const lines = [...stderr.matchAll(/probe\.c:(\d+):\d+: error:/g)].map((match) => Number(match[1]));
  return new Set(lines.map((line) => questions[line - FIRST_LINE]!));
}

function answers(header: string, questions: readonly Question[]): number[] {
  const binary = join(folder, "probe");
  const { status, stderr } = gcc(program(header, questions), "-o", binary);
  if (status !== 0) throw new Error(stderr);
  return spawnSync(binary, { encoding: "utf8" }).stdout.trim().split("\n").map(Number);
}

function fieldQuestions(layout: AnyLayout): Question[] {
  const name = structOf(layout);
  return Object.keys(layout.fields).map((field) => ({
    item: `struct ${name}.${field}`,
    expression: `offsetof(struct ${name}, ${field})`,
    ours: layout.offsets[field]!,
  }));
}

function sizeQuestion(layout: AnyLayout): Question {
  const name = structOf(layout);
  return { item: `struct ${name}`, expression: `sizeof(struct ${name})`, ours: layout.size };
}

/** The reason why there is nothing to compare with, if so. */
function obstacle(header: string): string | undefined {
  if (spawnSync("gcc", ["--version"]).status !== 0) return "there is no gcc";
  const { status, stderr } = gcc(program(header, []), "-fsyntax-only");
  return status === 0 ? undefined : `gcc cannot compile ${header}: ${stderr.split("\n")[0]}`;
}

describe.each(HEADERS)("layouts and numbers against $file", ({ file, layouts, ...header }) => {
  const missing = obstacle(file);
  if (missing !== undefined) {
    console.warn(`c-header.test.ts does not compare ${file}: ${missing}`);
    it.skip(missing, () => {});
    return;
  }
  const constants: Question[] = [...header.constants].map(([name, ours]) => ({ item: name, expression: name, ours }));
  const all = [...layouts.flatMap((layout) => [sizeQuestion(layout), ...fieldQuestions(layout)]), ...constants];
  const unknown = unanswerable(file, all);
  const unknownItems = new Set([...unknown].map((question) => question.item));

  it("asks for no name that no release has", () => {
    if (unknownItems.size > 0) {
      console.info(
        `${file} is too old (or too new) for, so layouts.txt alone holds:\n  ${[...unknownItems].join("\n  ")}`,
      );
    }
    const unexplained = [...unknownItems].filter(
      (item) => !header.gone.test(item) && !header.newer.some((re) => re.test(item)),
    );
    expect(unexplained).toEqual([]);
  });

  it("has every number", () => {
    const known = constants.filter((question) => !unknown.has(question));
    expect(known.length).toBeGreaterThanOrEqual(header.least.numbers);
    const theirs = answers(file, known);
    // C's (1 << 31) is negative, ours is not.
    const low = (value: number) => value >>> 0;
    expect(known.map(({ item }, i) => [item, low(theirs[i]!)])).toEqual(
      known.map(({ item, ours }) => [item, low(ours)]),
    );
  });

  it("has every field where it belongs", () => {
    const known = layouts.flatMap(fieldQuestions).filter(({ item }) => !unknownItems.has(item));
    expect(known.length).toBeGreaterThanOrEqual(header.least.fields);
    const theirs = answers(file, known);
    expect(known.map(({ item }, i) => [item, theirs[i]])).toEqual(known.map(({ item, ours }) => [item, ours]));
  });

  it("has every size", () => {
    // A structure that grew has several layouts; the header has one of them. One that lacks fields here is shorter there.
    const complete = layouts.filter((layout) => fieldQuestions(layout).every(({ item }) => !unknownItems.has(item)));
    const largest = new Map(complete.map((layout) => [structOf(layout), layout]));
    for (const layout of complete)
      if (layout.size > largest.get(structOf(layout))!.size) largest.set(structOf(layout), layout);
    const known = [...largest.values()].map(sizeQuestion);
    expect(known.length).toBeGreaterThanOrEqual(header.least.sizes);
    const theirs = answers(file, known);
    expect(known.map(({ item }, i) => [item, theirs[i]])).toEqual(known.map(({ item, ours }) => [item, ours]));
  });
});
