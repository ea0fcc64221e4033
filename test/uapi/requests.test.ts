import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeIo, encodeIo, plainRequest, VFIO_BASE, VFIO_TYPE } from "../../src/uapi/ioctl.ts";
import { requestName } from "../../src/uapi/request-names.ts";
import { VFIO_GET_API_VERSION } from "../../src/uapi/vfio.ts";
import { VFIO_IOMMU_MAP_DMA } from "../../src/uapi/vfio-type1.ts";

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

describe("request names", () => {
  it.each([
    ["container", 0x3b64, undefined, "VFIO_GET_API_VERSION"],
    ["container", 0x3b70, undefined, "VFIO_IOMMU_GET_INFO"],
    ["container", 0x3b70, "spapr", "VFIO_IOMMU_SPAPR_TCE_GET_INFO"],
    ["container", 0x3b71, undefined, "VFIO_IOMMU_MAP_DMA"],
    ["container", 0x3b71, "spapr", "VFIO_IOMMU_MAP_DMA"],
    ["container", 0x2000_3b71, "spapr", "VFIO_IOMMU_MAP_DMA"],
    ["container", 0x3b75, undefined, "VFIO_IOMMU_DIRTY_PAGES"],
    ["container", 0x3b75, "spapr", "VFIO_IOMMU_SPAPR_REGISTER_MEMORY"],
    ["container", 0x3b77, undefined, "VFIO_IOMMU_SPAPR_TCE_CREATE"],
    ["container", 0x3b67, undefined, "0x3b67"],
    ["group", 0x3b67, undefined, "VFIO_GROUP_GET_STATUS"],
    ["group", 0x3b6a, undefined, "VFIO_GROUP_GET_DEVICE_FD"],
    ["device", 0x3b70, undefined, "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO"],
    ["device", 0x3b75, undefined, "VFIO_DEVICE_FEATURE"],
    ["device", 0x5401, undefined, "0x5401"],
    ["migration", 0x3b79, undefined, "VFIO_MIG_GET_PRECOPY_INFO"],
    ["iommufd", 0x3b71, undefined, "VFIO_IOMMU_MAP_DMA"],
    ["iommufd", 0x3b85, undefined, "IOMMU_IOAS_MAP"],
    ["iommufd", 0x3b94, undefined, "IOMMU_HW_QUEUE_ALLOC"],
    ["iommufd", 0x3bff, undefined, "0x3bff"],
    ["foreign", 0x3b71, undefined, "0x3b71"],
    ["device", -1, undefined, "0xffffffff"],
  ] as const)("%s 0x%s %s is %s", (kind, request, backend, name) => {
    expect(requestName(kind, request, backend)).toBe(name);
  });
});
