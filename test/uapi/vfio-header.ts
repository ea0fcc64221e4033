import { Layout } from "../../src/uapi/layout.ts";
import * as vfio from "../../src/uapi/vfio.ts";
import * as cdev from "../../src/uapi/vfio-cdev.ts";
import * as device from "../../src/uapi/vfio-device.ts";
import * as feature from "../../src/uapi/vfio-feature.ts";
import * as gfx from "../../src/uapi/vfio-gfx.ts";
import * as migration from "../../src/uapi/vfio-migration.ts";
import * as pci from "../../src/uapi/vfio-pci.ts";
import * as spapr from "../../src/uapi/vfio-spapr.ts";
import * as type1 from "../../src/uapi/vfio-type1.ts";

const exported = Object.entries({
  ...vfio,
  ...cdev,
  ...device,
  ...feature,
  ...gfx,
  ...migration,
  ...pci,
  ...spapr,
  ...type1,
});

// biome-ignore lint/suspicious/noExplicitAny: the tests walk over layouts of all kinds
export type AnyLayout = Layout<any>;

/** Every layout that stands for a part of <linux/vfio.h>, by the name that it is exported under. */
export const LAYOUTS: ReadonlyMap<string, AnyLayout> = new Map(
  exported.filter((entry): entry is [string, AnyLayout] => entry[1] instanceof Layout),
);

/** Every number that has its name from <linux/vfio.h>. */
export const CONSTANTS: ReadonlyMap<string, number> = new Map(
  exported.filter((entry): entry is [string, number] => typeof entry[1] === "number"),
);

/** "vfio_device_bind_iommufd_v617" is one of two sizes that "vfio_device_bind_iommufd" has had. */
export function structOf(layout: AnyLayout): string {
  return layout.name.replace(/_v\d+$/, "");
}
