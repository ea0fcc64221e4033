import { describe, expect, test } from "vitest";
import { DEVICE_KINDS } from "../../src/devices/kinds.ts";
import { iommuKinds } from "../../src/iommu/kinds.ts";
import { codeOf, FILES, IMPORTS } from "./sources.ts";

/** Sources that name a kind of IOMMU although they are not its own, and why. A path that ends with a slash means all below it. */
const NAME_IOMMUS: Readonly<Record<string, string>> = {
  "iommu/kinds.ts": "the list",
  "iommu/kind.ts": "keys of a host file that a capture finds are called vtd_cap and vtd_ecap",
  "inspect/explain/": "logs call an IOMMU by its name, and so do causes and cures",
  "kernel/release-features.ts": "what a release's drivers have is called after the driver",
  "machine/hosts/": "ready-made hosts are of a kind",
  "machine/host-schema.ts": "a key of host files is called vtd_cap",
  "machine/complete-host.ts": "the same; and what a POWER host leaves open",
  "machine/write-host.ts": "the same key",
  "machine/host-definition.ts": "the same key",
  "machine/define-host.ts": "a host in code that says nothing of its IOMMU has the commonest",
  "machine/capture/groups.ts": "the same key",
  "machine/capture/acpi.ts": "tells who captures a host which IOMMU its firmware describes",
  "vfio/spapr/": "requests and windows of VFIO's POWER container are those of its IOMMU",
  "vfio/nesting/guest-table.ts": "the proposals' flags of a guest's table are called after VT-d, and so is the reason",
  "vfio/nesting/iommu-data.ts": "structures of the proposals have a part for VT-d",
  "vfio/nesting/nesting-backend.ts": "tells who cannot nest which host can",
};

/** The same for kinds of devices. */
const NAME_DEVICES: Readonly<Record<string, string>> = {
  "devices/kinds.ts": "the list",
  "machine/hosts/": "ready-made hosts have devices",
  "machine/describe.ts": "a function of s390 that says no model is of the kind that all of them were",
  "machine/zpci.ts": "`zpci` is also the key of a device's description",
  "machine/complete-host.ts": "the same key",
  "machine/check-host.ts": "the same key",
  "cli/host-table.ts": "a device that nobody drives is shown without a model",
  "inspect/replay/known-differences.ts": "where QEMU's NVMe controller is not followed",
  "inspect/replay/igb-differences.ts": "where QEMU's 82576 is not followed",
  "vfio/pci/create-functions.ts": "a function that nobody can use is made as plain memory",
};

const iommuFolders = FILES.flatMap((file) => /^iommu\/([^/]+)\//.exec(file)?.[1] ?? []);
const IOMMU_NAMES = new RegExp(
  [
    ...iommuKinds()
      .filter(({ translates }) => translates)
      .flatMap(({ model, title }) => [`"${model}"`, title]),
    ...["\\bVtd[A-Z]\\w*", "\\bvtd_\\w+", "\\b[Vv]endor\\.vtd\\b", "VT-d\\b", "AMD-Vi"],
  ].join("|"),
);
const DEVICE_NAMES = new RegExp(`"(?:${[...DEVICE_KINDS.pciModels, ...DEVICE_KINDS.mediatedModels].join("|")})"`);

function isListed(file: string, list: Readonly<Record<string, string>>): boolean {
  return Object.keys(list).some((path) => (path.endsWith("/") ? file.startsWith(path) : file === path));
}

function namesIommu(file: string): boolean {
  const own = /^iommu\/[^/]+\//.test(file);
  const folders = IMPORTS.get(file)!.map(({ target }) => /^iommu\/([^/]+)\//.exec(target)?.[1]);
  return !own && (IOMMU_NAMES.test(codeOf(file)) || folders.some((folder) => iommuFolders.includes(folder ?? "")));
}

function namesDevice(file: string): boolean {
  const own = /^devices\/(?:kinds|mediated)\//.test(file);
  const targets = IMPORTS.get(file)!.map(({ target }) => target);
  const kinds = targets.filter((target) => /^devices\/kinds\/|^devices\/mediated\/(?!mediated-)/.test(target));
  return !own && (DEVICE_NAMES.test(codeOf(file)) || kinds.length > 0);
}

describe.each([
  { what: "a kind of IOMMU", names: namesIommu, list: NAME_IOMMUS },
  { what: "a kind of device", names: namesDevice, list: NAME_DEVICES },
])("$what is named in its own folder", ({ names, list }) => {
  test("and nowhere else, but for what has a reason", () => {
    expect(FILES.filter((file) => names(file) && !isListed(file, list))).toEqual([]);
  });

  test("and no reason is out of date", () => {
    const naming = FILES.filter(names);
    expect(Object.keys(list).filter((path) => !naming.some((file) => isListed(file, { [path]: "" })))).toEqual([]);
  });
});
