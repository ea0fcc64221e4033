import type { RuleSet } from "../rule.ts";

/** Calls as strace, uvfio and programs of one's own report them; and nodes that cannot be opened, whoever says so. */
export const GENERAL: RuleSet = {
  program: "a program that says which call failed",
  rules: [
    {
      id: "strace-map",
      pattern:
        /ioctl\(\d+(?:<[^>]*>)?, VFIO_IOMMU_MAP_DMA, \{.*?iova=(?<iova>0x[0-9a-f]+|\d+), size=(?<size>0x[0-9a-f]+|\d+).*?\}.*?\) = -1 (?<errno>E[A-Z0-9]+)/,
      says: "{iova} + {size} was not mapped for DMA",
      call: "map",
    },
    {
      id: "open-container",
      pattern:
        /(?:open(?:at)?\(|["' ]|^)\/dev\/vfio\/vfio\b(?!\/)[^\n]{0,80}?(?:= -1 |[:,] |\()(?<errno>E[A-Z]+|(?:\[Errno )?-?\d{1,3}\b|[A-Z][a-z][\w ]{6,40})/i,
      says: "/dev/vfio/vfio cannot be opened",
      call: "open-container",
    },
    {
      id: "open-group",
      pattern:
        /(?:open(?:at)?\(|["' ]|^)\/dev\/vfio\/(?:noiommu-)?(?<group>\d+)\b[^\n]{0,80}?(?:= -1 |[:,] |\()(?<errno>E[A-Z]+|(?:\[Errno )?-?\d{1,3}\b|[A-Z][a-z][\w ]{6,40})/i,
      says: "/dev/vfio/{group} cannot be opened",
      call: "open-group",
    },
    {
      id: "open-cdev",
      pattern:
        /\/dev\/vfio\/devices\/(?<node>vfio\d+)\b[^\n]{0,80}?(?:= -1 |[:,] |\()(?<errno>E[A-Z]+|(?:\[Errno )?-?\d{1,3}\b|[A-Z][a-z][\w ]{6,40})/i,
      says: "/dev/vfio/devices/{node} cannot be opened",
      call: "open-cdev",
    },
    {
      id: "open-iommufd",
      pattern:
        /\/dev\/iommu\b[^\n]{0,80}?(?:= -1 |[:,] |\()(?<errno>E[A-Z]+|(?:\[Errno )?-?\d{1,3}\b|[A-Z][a-z][\w ]{6,40})/i,
      says: "/dev/iommu cannot be opened",
      call: "open-iommufd",
    },
    {
      id: "request",
      pattern:
        /\b(?<request>(?:VFIO|IOMMU)_[A-Z][A-Z0-9_]{3,40})\b[^\n]{0,400}?(?:= -1 |failed[:,]? (?:with )?|error[:,]? |= |: |\()(?<errno>E[A-Z][A-Z0-9]+\b|(?:errno |error |code )?-?\d{1,3}\b|[A-Za-z][a-z][\w/ ]{6,50})/,
      says: "{request} failed",
    },
    {
      id: "request-number",
      pattern:
        /ioctl\(\d+(?:<[^>]*>)?, (?:_IOC\(_IOC_NONE, 0x3b, (?<nr>0x[0-9a-f]+), 0(?:x0)?\)|(?<number>0x3b[0-9a-f]{2}))[^\n]*\) = -1 (?<errno>E[A-Z0-9]+)/,
      says: "the ioctl {number}{nr} failed",
    },
  ],
};
