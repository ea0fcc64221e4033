import type { FieldPath, Problem } from "./host-fields.ts";
import type { DeviceFile } from "./host-schema.ts";

type PciFile = Exclude<DeviceFile, { uuid: string }>;

const BRIDGE = 0x0604;
const CAP_EXPRESS = 0x10;

/** Facts of one PCI device that contradict each other. */
export function* pciFactProblems(device: PciFile, path: FieldPath): Generator<Problem> {
  const { config, rom, bars } = device;
  const code = device.class ?? (config ? config[9]! | (config[10]! << 8) | (config[11]! << 16) : undefined);
  const isBridge = code !== undefined && code >>> 8 === BRIDGE;
  if (device.secondary_bus != null && code !== undefined && !isBridge)
    yield { path: [...path, "secondary_bus"], message: "only a PCI bridge (class 0x060400) has a bus below it" };
  if (device.pcie != null && config && device.pcie !== hasCapability(config, CAP_EXPRESS))
    yield {
      path: [...path, "pcie"],
      message: `\`config\` says otherwise: it has ${device.pcie ? "no" : "a"} PCI Express capability`,
    };
  if (device.irq != null && config && config[0x3d] === 0 && device.irq !== 0 && device.physfn == null)
    yield {
      path: [...path, "irq"],
      message: "`config` has no interrupt pin, so there is no line",
    };
  if (device.irq === 0 && device.irq_shared_with != null)
    yield { path: [...path, "irq_shared_with"], message: "irq is 0: the device has no line to share" };
  const romBar = (bars ?? []).find(({ type }) => type === "rom");
  if (rom instanceof Uint8Array && romBar && rom.length > romBar.size)
    yield { path: [...path, "rom"], message: `the image has ${rom.length} bytes, its BAR ${romBar.size}` };
  if (rom === "shadow" && romBar && romBar.size !== 0x2_0000)
    yield {
      path: [...path, "rom"],
      message: "firmware's copy has 0x20000 bytes (0xc0000-0xdffff): leave out the rom BAR",
    };
  if (device.physfn != null && romBar)
    yield {
      path: [...path, "bars", bars!.indexOf(romBar), "type"],
      message: "a virtual function has no expansion ROM",
    };
  if (device.physfn != null && device.sriov_totalvfs != null)
    yield {
      path: [...path, "sriov_totalvfs"],
      message: "a virtual function has none of its own: physfn or sriov_totalvfs, not both",
    };
  if (device.physfn != null && device.pcie === false)
    yield { path: [...path, "pcie"], message: "a virtual function is PCI Express" };
  if (device.sriov_totalvfs != null && device.pcie === false)
    yield { path: [...path, "pcie"], message: "a device with virtual functions is PCI Express" };
}

function hasCapability(config: Uint8Array, id: number): boolean {
  const seen = new Set<number>();
  for (let at = config[0x34]!; at >= 0x40 && !seen.has(at); at = config[at + 1]!) {
    seen.add(at);
    if (config[at] === id) return true;
  }
  return false;
}
