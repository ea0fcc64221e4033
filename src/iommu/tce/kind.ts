import { ALL_64_BITS, bitsOfLast, lastOfBits } from "../address-bits.ts";
import type { SpaprDescription, SpaprPlatform } from "../description.ts";
import { type IommuKind, PLAIN_DRIVER, PLAIN_IOMMUFD } from "../kind.ts";

/** What TCE_GET_INFO says on a platform, as recorded on each. */
export function defaultSpapr(platform: SpaprPlatform): SpaprDescription {
  const pseries = platform === "pseries";
  return {
    platform,
    dma32WindowStart: 0n,
    dma32WindowSize: pseries ? 0x4000_0000n : 0x8000_0000n,
    maxDynamicWindows: 2,
    levels: pseries ? 1 : 5,
  };
}

export const tce: IommuKind = {
  model: "spapr-tce",
  title: "POWER TCE",
  translates: true,
  usualArch: "ppc64le",
  defaults: {
    // a host's is its 32-bit window
    aperture: { start: 0n, last: ALL_64_BITS },
    lastOfBits,
    bitsOfLast,
    // as the recordings' TCE_GET_INFO says: 4K 64K 16M 256M, 4K 64K 2M 1G, 4K 64K 2M 16M
    pageSizes: (_pageSize, platform = "pseries") => {
      if (platform === "powernv8") return 0x1101_1000n;
      return platform === "pseries" ? 0x121_1000n : 0x4021_1000n;
    },
    cacheCoherent: false,
    // checked in firmware and hardware
    interruptRemapping: () => true,
    reservedRegions: () => [],
    // its default domain has a kind that sysfs has no word for
    groupType: "unknown",
    container: "spapr",
  },
  ownKeys: ["platform", "dma32_window_start", "dma32_window_size", "max_dynamic_windows", "levels"],
  makeNesting: undefined,
  tracksDirtyPages: "no",
  needs: "spaprContainer",
  driver: {
    ...PLAIN_DRIVER,
    beyondAperture: "ERANGE",
  },
  iommufd: PLAIN_IOMMUFD,
};
