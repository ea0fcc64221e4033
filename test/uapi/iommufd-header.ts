import * as iommufd from "../../src/uapi/iommufd.ts";
import * as hwpt from "../../src/uapi/iommufd-hwpt.ts";
import * as viommu from "../../src/uapi/iommufd-viommu.ts";
import { Layout } from "../../src/uapi/layout.ts";
import type { AnyLayout } from "./vfio-header.ts";

const exported = Object.entries({ ...iommufd, ...hwpt, ...viommu });

/** Every layout that stands for a part of <linux/iommufd.h>, by the name that it is exported under. */
export const IOMMUFD_LAYOUTS: ReadonlyMap<string, AnyLayout> = new Map(
  exported.filter((entry): entry is [string, AnyLayout] => entry[1] instanceof Layout),
);

/** Every number that has its name from <linux/iommufd.h>. */
export const IOMMUFD_CONSTANTS: ReadonlyMap<string, number> = new Map(
  exported.filter((entry): entry is [string, number] => typeof entry[1] === "number"),
);
