import { edu } from "../../devices/kinds/edu/kind.ts";
import { nvme } from "../../devices/kinds/nvme/kind.ts";
import { findCapability } from "../../devices/pci/capabilities.ts";
import { PCI_CAP_ID_MSI } from "../../devices/pci/registers.ts";
import { Release } from "../../kernel/releases.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import { viewOf } from "../../uapi/layout.ts";
import { VfioIommuType1DmaMap } from "../../uapi/vfio-type1.ts";
import { isCorruption } from "../../vfio/spapr/defects.ts";
import type { Difference } from "./compare.ts";
import type { Rule } from "./difference-rule.ts";
import { igbRules } from "./igb-differences.ts";
import { isBytesIoctl, type Operation } from "./operation.ts";
import { fromHex } from "./outcome.ts";
import { smmuRules } from "./smmu-differences.ts";

/** The reasons for intended differences in one recording. */
export class KnownDifferences {
  readonly #rules: readonly Rule[];

  /**
   * @param littleEndian the byte order of the recorded structures
   * @param operations all of the recording
   */
  constructor(host: HostDescription, littleEndian: boolean, operations: Iterable<Operation>) {
    const rules: Rule[] = [
      processorsRule(),
      machinesGroupsRule(host),
      ...igbRules(host),
      ...smmuRules(host, operations),
    ];
    if (!new Release(host.kernel).has("lastByteUsable")) rules.push(lastByteRule(littleEndian));
    if (host.arch === "arm64") rules.push(partialCopyRule(), emptyFlashRule());
    if (host.groups.some(({ devices }) => devices.some(({ model }) => model === edu.model)))
      rules.push(leftBufferRule());
    if (host.vfioContainer === "spapr") rules.push(pastWindowRule());
    rules.push(romImageRule());
    if (host.arch === "s390x") rules.push(unsetRomRule(), leftMessageAddressRule(host));
    const isNvme = ({ model }: { readonly model: string }) => model === nvme.model;
    if (host.groups.some(({ devices }) => devices.some(isNvme))) rules.push(lostDataRule(), leftLineRule());
    this.#rules = rules;
  }

  /**
   * The reason why this operation differs, or undefined for one that should not. To be called for all operations in
   * order.
   */
  explain(
    operation: Operation,
    difference: Difference | undefined,
    said: readonly string[],
    line: number,
  ): string | undefined {
    let reason: string | undefined;
    for (const rule of this.#rules)
      if (rule.explains(operation, difference, said, line) && difference) reason ??= rule.reason;
    return reason;
  }
}

/** What a host does not describe. */
function processorsRule(): Rule {
  return {
    reason: "the processors that a device is near to are those of the machine that replays",
    explains: (operation) => operation.op === "readfile" && /\/local_cpu(s|list)$/.test(operation.path),
  };
}

/**
 * A recording's host has the groups of the devices that VFIO has, and not those of root ports and of the host bridge.
 */
function machinesGroupsRule({ groups }: HostDescription): Rule {
  const known = new Set(groups.map(({ id }) => id));
  return {
    reason: "a group of the machine's own devices, which its description does not have",
    explains(operation) {
      const group = operation.op === "readfile" && /^\/sys\/kernel\/iommu_groups\/(\d+)\//.exec(operation.path);
      return group ? !known.has(Number(group[1])) : false;
    },
  };
}

/** Where a file of a device has a region of it. */
const regionOf = (off: string | number) => Number(BigInt(off) >> 40n);
const ROM_REGION = 6;

/** Each release of QEMU has newer images of network cards' boot programs. */
function romImageRule(): Rule {
  return {
    reason: "the image behind an expansion ROM BAR is that of the recorded QEMU's release",
    explains(operation, difference) {
      if (operation.op !== "pread" || difference?.field !== "data" || regionOf(operation.off) !== ROM_REGION)
        return false;
      return [difference.recorded, difference.ours].every((text) => text.startsWith("55aa"));
    },
  };
}

/** A flash without content is memory that nobody answers for: what that reads as is the architecture's affair. */
function emptyFlashRule(): Rule {
  return {
    reason:
      "memory of a device that nothing answers for reads as ones on QEMU's arm64 machine, and as zeros on its x86",
    explains(operation, difference) {
      if (operation.op !== "pread" || difference?.field !== "data") return false;
      return /^f+$/.test(difference.recorded) && /^0+$/.test(difference.ours);
    },
  };
}

/** Bits of the edu device's DMA command at 0x98 of its BAR: start, and whether it goes to memory. */
const DMA_COMMAND = 0x98;
const DMA_START = 1n;
const DMA_TO_MEMORY = 2n;

/** The edu device's buffer outlives resets and programs: what a recording's first transfer from it brings is older. */
function leftBufferRule(): Rule {
  let isFilled = false;
  let isSpread = false;
  return {
    reason: "the edu device's buffer has what an earlier program left in it; recordings begin later",
    explains(operation, difference) {
      if (operation.op === "w64" && Number(operation.off ?? 0) === DMA_COMMAND) {
        const command = BigInt(operation.value);
        if ((command & DMA_START) !== 0n) {
          if ((command & DMA_TO_MEMORY) !== 0n) isSpread ||= !isFilled;
          else isFilled = true;
        }
      }
      return isSpread && operation.op === "dump" && difference?.field === "data" && /^0+$/.test(difference.ours);
    },
  };
}

/**
 * Before 6.18 a mapping up to 2^64-1 corrupts the kernel's tree: what is found afterwards depends on the tree's shape.
 */
function lastByteRule(littleEndian: boolean): Rule {
  let seen = false;
  return {
    reason:
      "a mapping that ends at 2^64-1 breaks the search in kernels before 6.18 (ef270ec4c5d1); the model stays sane",
    explains(operation) {
      if (!seen && isBytesIoctl(operation) && operation.req === "VFIO_IOMMU_MAP_DMA" && operation.ret === 0) {
        const bytes = fromHex(operation.in);
        if (bytes.length < VfioIommuType1DmaMap.size) return seen;
        const map = VfioIommuType1DmaMap.decode(bytes, littleEndian);
        seen = map.iova + map.size === 2n ** 64n;
      }
      return seen;
    },
  };
}

/** arm64 copies by words: how much of a word is written before an unwritable page is the copy routine's affair. */
function partialCopyRule(): Rule {
  let faulted = false;
  return {
    reason:
      "how many bytes of a word arm64 writes before an unwritable page is its copy routine's affair; the model writes all of them",
    explains(operation) {
      if (operation.op === "ioctl") faulted = operation.errno === "EFAULT";
      return faulted && operation.op === "dump";
    },
  };
}

/** IORESOURCE_UNSET (include/linux/ioport.h), as the `resource` file prints it. */
const UNSET = /^(0x0{16} 0x[0-9a-f]{16} 0x0{8})2(?=[0-9a-f]{7}$)/gm;

/**
 * On s390 expansion ROMs have no address. Once somebody has asked VFIO about one, the kernel has tried to give it one
 * and marks it as unset from then on; recordings begin at some time in a machine's life.
 */
function unsetRomRule(): Rule {
  return {
    reason: "whether a program has asked about the expansion ROM before shows in the flags of its resource",
    explains(operation, difference) {
      if (operation.op !== "readfile" || !operation.path.endsWith("/resource") || !difference) return false;
      const marked = (text: string) => text.replace(UNSET, "$10");
      return marked(difference.recorded) === marked(difference.ours);
    },
  };
}

/** Bytes of an NVMe completion, and its status behind the phase bit. */
const COMPLETION = { bytes: 16, status: 14 };
const TRANSFER_ERROR = 0x004;
const STATUS_CODE = 0x7ff;

/**
 * QEMU's NVMe controller completes a command with success although its data could not be reached: what it reads is
 * zeros, which a write puts on the disk. The model says Data Transfer Error and writes nothing.
 */
function lostDataRule(): Rule {
  let failed = false;
  const statusOf = (text: string) => (viewOf(fromHex(text)).getUint16(COMPLETION.status, true) >>> 1) & STATUS_CODE;
  return {
    reason:
      "QEMU's NVMe controller has success for data that it could not reach, and zeros on the disk; the model has Data Transfer Error (0/04)",
    explains(operation, difference) {
      if (operation.op !== "dump" || difference?.field !== "data") return failed && operation.op === "dump";
      const { recorded, ours } = difference;
      const isCompletion = operation.len === COMPLETION.bytes;
      failed ||= isCompletion && statusOf(recorded) === 0 && statusOf(ours) === TRANSFER_ERROR;
      return failed;
    },
  };
}

/** Bit 3 of the status register: the INTx line is up. */
const STATUS_LINE = 1 << 3;
const STATUS_BYTE = 2;

/** QEMU's NVMe controller keeps its INTx line up for ever once a completion was not acknowledged before a reset. */
function leftLineRule(): Rule {
  let left = false;
  return {
    reason:
      "QEMU's NVMe controller counts completions that nobody took over resets, which keeps INTx up; the model forgets them",
    explains(operation, difference) {
      if (operation.op === "pread" && difference?.field === "data" && operation.len === 4) {
        const [recorded, ours] = [fromHex(difference.recorded), fromHex(difference.ours)];
        const isLine = (recorded[STATUS_BYTE]! ^ (ours[STATUS_BYTE] ?? 0)) === STATUS_LINE;
        left ||= isLine && recorded.every((byte, i) => i === STATUS_BYTE || byte === ours[i]);
        return left;
      }
      return left && (operation.op === "evread" || operation.op === "evwait");
    },
  };
}

const MSI_ADDRESS = { start: 4, bytes: 8 };

/**
 * Where interrupts go stays in a function's MSI capability when they are switched off, and the next user sees it there.
 */
function leftMessageAddressRule(host: HostDescription): Rule {
  const addresses = new Set(
    host.groups
      .flatMap(({ devices }) => devices)
      .flatMap((device) => (device.bus === "pci" && device.zpci ? [device.zpci.group.msiAddress] : [])),
  );
  return {
    reason: "an MSI address that an earlier program's interrupts have left in config space; recordings begin later",
    explains(operation, difference) {
      if (operation.op !== "pread" || difference?.field !== "data") return false;
      const [recorded, ours] = [fromHex(difference.recorded), fromHex(difference.ours)];
      const at = recorded.length === 256 ? findCapability(recorded, PCI_CAP_ID_MSI) : undefined;
      if (at === undefined || recorded.length !== ours.length) return false;
      const start = at + MSI_ADDRESS.start;
      const end = start + MSI_ADDRESS.bytes;
      const isLeft = addresses.has(viewOf(recorded).getBigUint64(start, true));
      return isLeft && recorded.every((byte, i) => byte === ours[i] || (i >= start && i < end));
    },
  };
}

/**
 * On bare metal a request that runs past the end of its window goes on in the memory behind the kernel's table: MAP_DMA
 * says 0, and mappings are lost that way, so that regions stay registered. The model refuses the one, and cuts an
 * UNMAP_DMA off.
 */
function pastWindowRule(): Rule {
  let seen = false;
  return {
    reason:
      "a request that runs past its window's end corrupts memory in a bare-metal kernel; the model refuses a MAP_DMA and cuts off an UNMAP_DMA",
    explains(_operation, difference, said) {
      const now = said.some(isCorruption);
      seen ||= now;
      return difference?.field === "vmlck_kB" ? seen : now;
    },
  };
}
