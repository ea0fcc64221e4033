import * as v59 from "../../src/uapi/iommu-v59.ts";
import * as v510 from "../../src/uapi/iommu-v510.ts";
import { Layout } from "../../src/uapi/layout.ts";
import { VfioIommuType1NestingOp, VfioIommuType1PasidRequest } from "../../src/uapi/vsva-v7.ts";
import type { AnyLayout } from "./vfio-header.ts";

/** Layouts of <linux/iommu.h> and of the proposals that layouts.txt has. */
export const PROPOSED_LAYOUTS: readonly AnyLayout[] = [
  ...Object.values({ ...v510, ...v59 }).filter((value): value is AnyLayout => value instanceof Layout),
  VfioIommuType1PasidRequest,
  VfioIommuType1NestingOp,
];
