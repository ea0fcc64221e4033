import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeIo, encodeIo, plainRequest, VFIO_BASE, VFIO_TYPE } from "../../src/uapi/ioctl.ts";
import * as iommufd from "../../src/uapi/iommufd.ts";
import * as hwpt from "../../src/uapi/iommufd-hwpt.ts";
import * as viommu from "../../src/uapi/iommufd-viommu.ts";
import { dialectNamed } from "../../src/uapi/requests/dialects.ts";
import type { RequestRow, StructRow } from "../../src/uapi/requests/request-row.ts";
import * as rfc from "../../src/uapi/rfc-2017.ts";
import * as vfio from "../../src/uapi/vfio.ts";
import * as cdev from "../../src/uapi/vfio-cdev.ts";
import * as device from "../../src/uapi/vfio-device.ts";
import * as feature from "../../src/uapi/vfio-feature.ts";
import * as gfx from "../../src/uapi/vfio-gfx.ts";
import * as migration from "../../src/uapi/vfio-migration.ts";
import * as pci from "../../src/uapi/vfio-pci.ts";
import * as spapr from "../../src/uapi/vfio-spapr.ts";
import * as type1 from "../../src/uapi/vfio-type1.ts";
import * as v1 from "../../src/uapi/vsva-v1.ts";
import * as v7 from "../../src/uapi/vsva-v7.ts";

const { VFIO_GET_API_VERSION } = vfio;
const { VFIO_IOMMU_MAP_DMA } = type1;

describe("request numbers", () => {
  it("are 0x3b64 and up, on powerpc 0x20003b64 and up", () => {
    expect(encodeIo(VFIO_TYPE, VFIO_BASE)).toBe(VFIO_GET_API_VERSION);
    expect(encodeIo(VFIO_TYPE, VFIO_BASE, "powerpc")).toBe(0x2000_3b64);
  });

  it("come back from either encoding", () => {
    const byte = fc.integer({ min: 0, max: 255 });
    fc.assert(
      fc.property(byte, byte, fc.constantFrom("plain" as const, "powerpc" as const), (type, nr, encoding) => {
        expect(decodeIo(encodeIo(type, nr, encoding))).toEqual({ type, nr, encoding });
        // As a program on a 32-bit int passes it.
        expect(decodeIo(encodeIo(type, nr, encoding) | 0)).toEqual({ type, nr, encoding });
      }),
    );
  });

  it("are not VFIO's when they have a size or a direction", () => {
    expect(decodeIo(0x4004_3b64)).toBeUndefined();
    expect(decodeIo(0x0001_3b64)).toBeUndefined();
  });

  it("count only in the host's own encoding", () => {
    expect(plainRequest(0x3b71, "plain")).toBe(VFIO_IOMMU_MAP_DMA);
    expect(plainRequest(0x2000_3b71, "powerpc")).toBe(VFIO_IOMMU_MAP_DMA);
    expect(plainRequest(0x2000_3b71, "plain")).toBeUndefined();
    expect(plainRequest(0x3b71, "powerpc")).toBeUndefined();
  });
});

describe("a dialect", () => {
  it.each([
    ["type1", 0x3b64, "VFIO_GET_API_VERSION"],
    ["type1", 0x3b70, "VFIO_IOMMU_GET_INFO"],
    ["spapr", 0x3b70, "VFIO_IOMMU_SPAPR_TCE_GET_INFO"],
    ["type1", 0x3b71, "VFIO_IOMMU_MAP_DMA"],
    ["spapr", 0x3b71, "VFIO_IOMMU_MAP_DMA"],
    ["spapr", 0x2000_3b71, "VFIO_IOMMU_MAP_DMA"],
    ["type1", 0x3b75, "VFIO_IOMMU_DIRTY_PAGES"],
    ["spapr", 0x3b75, "VFIO_IOMMU_SPAPR_REGISTER_MEMORY"],
    ["type1", 0x3b77, "VFIO_IOMMU_SPAPR_TCE_CREATE"],
    ["type1", 0x3b67, "0x3b67"],
    ["type1", 0x3b7a, "0x3b7a"],
    ["vsva-v1", 0x3b7a, "VFIO_IOMMU_PASID_REQUEST"],
    ["vsva-v1-5.9", 0x3b7c, "VFIO_IOMMU_CACHE_INVALIDATE"],
    ["vsva-v1", 0x3b76, "VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY"],
    ["vsva-v7", 0x3b76, "VFIO_IOMMU_PASID_REQUEST"],
    ["vsva-v7", 0x3b77, "VFIO_IOMMU_NESTING_OP"],
    ["vsva-v7-plain", 0x3b77, "VFIO_IOMMU_NESTING_OP"],
    ["vsva-v7-plain", 0x3b75, "VFIO_IOMMU_DIRTY_PAGES"],
    ["vsva-v1-plain-5.9", 0x3b7a, "VFIO_IOMMU_PASID_REQUEST"],
    ["vsva-v7-5.9", 0x3b71, "VFIO_IOMMU_MAP_DMA"],
    ["rfc-2017", 0x3b7c, "VFIO_IOMMU_OP"],
    ["group", 0x3b67, "VFIO_GROUP_GET_STATUS"],
    ["group", 0x3b6a, "VFIO_GROUP_GET_DEVICE_FD"],
    ["device", 0x3b70, "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO"],
    ["device", 0x3b75, "VFIO_DEVICE_FEATURE"],
    ["device", 0x5401, "0x5401"],
    ["migration", 0x3b79, "VFIO_MIG_GET_PRECOPY_INFO"],
    ["iommufd", 0x3b71, "VFIO_IOMMU_MAP_DMA"],
    ["iommufd", 0x3b85, "IOMMU_IOAS_MAP"],
    ["iommufd", 0x3b94, "IOMMU_HW_QUEUE_ALLOC"],
    ["iommufd", 0x3bff, "0x3bff"],
    ["device", -1, "0xffffffff"],
  ] as const)("%s calls 0x%s %s", (name, request, expected) => {
    expect(dialectNamed(name)!.nameOf(request)).toBe(expected);
  });

  it("has one row for a number, and rows that name fields which their structures have", () => {
    for (const { name, rows } of ALL) {
      expect(new Set(rows.map(({ number }) => number)).size, name).toBe(rows.length);
      for (const row of rows) for (const struct of structsOf(row)) checkFields(`${name} ${row.name}`, struct);
    }
  });

  it("has every request constant of the headers", () => {
    const constants = [
      vfio,
      type1,
      spapr,
      device,
      pci,
      cdev,
      feature,
      gfx,
      migration,
      iommufd,
      hwpt,
      viommu,
      v1,
      v7,
      rfc,
    ];
    const requests = constants.flatMap((header) =>
      Object.entries(header).filter(([, value]) => typeof value === "number" && value >= 0x3b64 && value <= 0x3bff),
    );
    expect(requests.length).toBeGreaterThan(50);
    for (const [name, number] of requests) {
      const found = ALL.flatMap(({ rows }) => rows).filter((row) => row.name === name && row.number === number);
      expect(found.length, name).toBeGreaterThan(0);
    }
  });
});

const ALL = [
  "type1",
  "spapr",
  "group",
  "device",
  "iommufd",
  "migration",
  "vsva-v1",
  "vsva-v1-5.9",
  "vsva-v7",
  "vsva-v7-5.9",
  "vsva-v1-plain",
  "vsva-v7-plain",
  "rfc-2017",
].map((name) => dialectNamed(name)!);

/** The structures of a row, and those inside them, as an all-zero structure chooses them. */
function structsOf({ struct }: RequestRow): StructRow[] {
  return struct ? [struct, ...innerOf(struct)] : [];
}

function innerOf(struct: StructRow): StructRow[] {
  const value = struct.layout.decode(new Uint8Array(struct.layout.size));
  const behind = struct.behind?.(value);
  const found = [
    ...Object.values(struct.inner?.(value) ?? {}),
    ...(behind && "struct" in behind ? [behind.struct] : []),
    ...(behind?.kind === "capabilities" ? behind.known.map((capability) => capability.struct) : []),
  ];
  return found.flatMap((each) => [each, ...innerOf(each)]);
}

function checkFields(where: string, struct: StructRow): void {
  const { layout, names = {}, pointers = [], fds = [] } = struct;
  const value = layout.decode(new Uint8Array(layout.size));
  const inner = Object.keys(struct.inner?.(value) ?? {});
  for (const field of [...Object.keys(names), ...pointers, ...fds, ...inner, ...(struct.hidden?.(value) ?? [])]) {
    expect(Object.keys(layout.fields), `${where}: struct ${layout.name}`).toContain(field);
  }
}
