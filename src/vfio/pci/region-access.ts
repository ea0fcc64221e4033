import type { AccessWidth } from "../../devices/device-model.ts";
import type { PciFunction } from "../../devices/pci/function.ts";
import { ROM_BAR } from "../../devices/pci/registers.ts";
import { romSize } from "../../devices/pci/rom-image.ts";
import { getValue, setValue } from "../../devices/register-value.ts";
import { fail, hex } from "../../kernel/errors.ts";
import { finish, type RequestSteps } from "../../kernel/request-steps.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import { viewOf } from "../../uapi/layout.ts";
import {
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_VGA_REGION_INDEX,
} from "../../uapi/vfio-device.ts";
import { errorState } from "../error-state.ts";
import type { OpenDevice } from "./open-device.ts";
import { msixTable, refuseClaimed, splitOffset } from "./region.ts";
import { noVgaReason } from "./vga-region.ts";

/** Bytes of config space or registers that are moved between the caller and the device in one piece. */
const PIECE = 4096;
/** The same of a region that is memory. */
const MEMORY_PIECE = 65536;
/** For an access to a register, which is nearly each: a buffer of its own takes as long as the rest. */
const register = new Uint8Array(8);

/**
 * read() and write() of the device's file at an offset (vfio_pci_core.c:vfio_pci_rw). Returns how many bytes were
 * moved.
 */
export function accessRegion(
  device: OpenDevice,
  task: Task,
  address: Word,
  count: number,
  offset: Word,
  write: boolean,
): number {
  return finish(accessRegionInSteps(device, task, address, count, offset, write));
}

/** The same, in steps where registers are in another process that may take its time. */
export function accessRegionInSteps(
  device: OpenDevice,
  task: Task,
  address: Word,
  count: number,
  offset: Word,
  write: boolean,
): number | RequestSteps {
  if (count === 0) return 0;
  const { target } = device;
  const place = splitOffset(offset);
  if (!place || place.index >= VFIO_PCI_NUM_REGIONS)
    fail("EINVAL", `${target.name} has no region at offset ${hex(offset)}`);
  // a device in low power wakes up for the access (pm_runtime_resume_and_get)
  const { index, at } = place;
  if (index === VFIO_PCI_CONFIG_REGION_INDEX) return accessConfig(device, task, address, count, at, write);
  if (index === VFIO_PCI_VGA_REGION_INDEX) {
    if (!device.vga) fail("EINVAL", noVgaReason(target.name, target.description));
    return device.vga.access(task, address, count, at, write);
  }
  if (index === ROM_BAR && write) fail("EINVAL", "the expansion ROM cannot be written");
  const steps = accessBar(device, task, address, count, index, at, write);
  return isBrief(target, count) ? finish(steps) : steps;
}

/** Whether an access is one of a register, at which nobody is waited for. */
function isBrief({ model }: PciFunction, count: number): boolean {
  return count <= register.length && model.prepare === undefined;
}

function accessConfig(
  device: OpenDevice,
  task: Task,
  address: Word,
  count: number,
  at: number,
  write: boolean,
): number {
  const { config, target } = device;
  if (target.isInError) fail("EIO", errorState(target.name));
  // the kernel looks at the whole of what is left before each piece, so that nothing is moved when the end is beyond
  if (at + count > config.size) {
    fail(
      "EFAULT",
      `${device.target.name} has ${hex(config.size)} bytes of config space; ${hex(at)} plus ${hex(count)} is beyond`,
    );
  }
  const bytes = new Uint8Array(count);
  if (write) {
    task.memory.copyIn(address, bytes, count);
    config.write(at, bytes);
  } else {
    config.read(at, bytes);
    task.memory.copyOut(address, bytes, count);
  }
  return count;
}

/** vfio_pci_bar_rw: an access that crosses the region's end is cut short. */
function* accessBar(
  device: OpenDevice,
  task: Task,
  address: Word,
  count: number,
  index: number,
  at: number,
  write: boolean,
): RequestSteps {
  const { target } = device;
  const bar = target.bar(index);
  if (bar === undefined)
    fail("EINVAL", `${target.name} has no ${index === ROM_BAR ? "expansion ROM" : `BAR ${index}`}`);
  if (at >= bar.size)
    fail("EINVAL", `region ${index} of ${target.name} has ${hex(bar.size)} bytes; ${hex(at)} is beyond`);
  const { arch, release } = device.context;
  if (at + count > bar.size && !release.has("clippedBarAccess")) {
    fail(
      "EINVAL",
      `region ${index} of ${target.name} has ${hex(bar.size)} bytes; ${hex(at)} plus ${hex(count)} is beyond`,
    );
  }
  if (index === ROM_BAR && target.description.rom === "none")
    fail("ENOMEM", `the expansion ROM of ${target.name} has no image (drivers/pci/rom.c:pci_map_rom)`);
  refuseClaimed(target, index);
  const length = Math.min(count, bar.size - at);
  // no 8-byte accesses to ROMs: some devices cannot take them
  const hasQwords = release.has("qwordEverywhere") || (release.has("qwordBarAccess") && arch !== "x86_64");
  const widest = index !== ROM_BAR && hasQwords ? 8 : 4;
  const most = target.model.memory(index) ? MEMORY_PIECE : PIECE;
  const bytes = isBrief(target, count) ? register.subarray(0, length) : new Uint8Array(Math.min(length, most));
  device.pollShared();
  for (const shared of device.shared) shared.pull(index, at, length);
  for (let done = 0; done < length; ) {
    const left = length - done;
    const piece = left < bytes.length ? bytes.subarray(0, left) : bytes;
    const from = wordAdd(address, done);
    if (write) task.memory.copyIn(from, piece, piece.length);
    yield* moveRegisters(device, index, at + done, piece, widest, write);
    if (!write) task.memory.copyOut(from, piece, piece.length);
    done += piece.length;
  }
  if (write) for (const shared of device.shared) shared.push(index, at, length);
  device.showShared();
  return length;
}

/**
 * Splits an access as vfio_pci_core_do_io_rw does: aligned pieces as wide as can be; the MSI-X table reads as all ones.
 */
function* moveRegisters(
  device: OpenDevice,
  index: number,
  start: number,
  bytes: Uint8Array,
  widest: AccessWidth,
  write: boolean,
): Generator<void, void> {
  const { target, config, context } = device;
  const inMemory = target.bar(index)!.type !== "io";
  const isSilent = inMemory && !config.memoryEnabled && !context.release.has("memoryEnableChecked");
  if (isSilent || target.isCutOff) {
    // nobody answers: reads are all ones, writes are lost
    if (!write) bytes.fill(0xff);
    return;
  }
  const hidden = hiddenPart(target, index);
  const isHidden = hidden !== undefined && start < hidden.end && start + bytes.length > hidden.start;
  const memory = isHidden ? undefined : target.model.memory(index);
  if (memory) {
    if (inMemory && !config.memoryEnabled) failOff(target);
    if (write) memory.writeBytes(start, bytes);
    else memory.readBytes(start, bytes);
    return;
  }
  const view = viewOf(bytes);
  const isElsewhere = target.model.prepare !== undefined;
  for (let done = 0; done < bytes.length; ) {
    const at = start + done;
    const left = bytes.length - done;
    if (hidden && at >= hidden.start && at < hidden.end) {
      const covered = Math.min(left, hidden.end - at);
      if (!write) bytes.fill(0xff, done, done + covered);
      done += covered;
      continue;
    }
    const room = hidden && at < hidden.start ? Math.min(left, hidden.start - at) : left;
    const width = pickWidth(at, room, widest);
    if (inMemory && !config.memoryEnabled) failOff(target);
    if (isElsewhere) yield* target.prepare(index, at, width, write ? getValue(view, done, width) : undefined);
    if (write) target.writeRegion(index, at, width, getValue(view, done, width));
    else setValue(view, done, width, target.readRegion(index, at, width));
    done += width;
  }
}

/** The part of a region that reads as all ones: the MSI-X table, and what is behind the image of a ROM. */
function hiddenPart(target: PciFunction, index: number): { readonly start: number; readonly end: number } | undefined {
  const table = msixTable(target);
  if (table?.bar === index) return table;
  const { rom } = target.description;
  if (index !== ROM_BAR || !(rom instanceof Uint8Array)) return undefined;
  return { start: romSize(rom), end: target.bar(index)!.size };
}

function failOff({ name }: PciFunction): never {
  fail("EIO", `memory regions of ${name} are switched off (PCI_COMMAND bit 1, or the device sleeps)`);
}

function pickWidth(at: number, room: number, widest: AccessWidth): AccessWidth {
  if (room >= 8 && at % 8 === 0 && widest === 8) return 8;
  if (room >= 4 && at % 4 === 0) return 4;
  return room >= 2 && at % 2 === 0 ? 2 : 1;
}
