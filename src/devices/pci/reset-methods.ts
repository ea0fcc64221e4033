import { findCapability } from "./capabilities.ts";
import type { PciFunction } from "./function.ts";
import * as pci from "./registers.ts";

/** Whether the function has a reset of its own: PCIe FLR, AF FLR, or a soft reset on the way from D3hot to D0. */
export function hasDeviceFlr({ config }: PciFunction): boolean {
  const express = findCapability(config.bytes, pci.PCI_CAP_ID_EXP);
  if (express !== undefined && config.read(express + pci.PCI_EXP_DEVCAP, 4) & pci.PCI_EXP_DEVCAP_FLR) return true;
  const advanced = findCapability(config.bytes, pci.PCI_CAP_ID_AF);
  const both = pci.PCI_AF_CAP_FLR | pci.PCI_AF_CAP_TP;
  if (advanced !== undefined && (config.read(advanced + pci.PCI_AF_CAP, 1) & both) === both) return true;
  return resetsInD3(config.bytes);
}

/** Whether going from D3hot to D0 resets the function (No_Soft_Reset is clear). */
export function resetsInD3(config: Uint8Array): boolean {
  const power = findCapability(config, pci.PCI_CAP_ID_PM);
  return power !== undefined && !(config[power + pci.PCI_PM_CTRL]! & pci.PCI_PM_CTRL_NO_SOFT_RESET);
}
