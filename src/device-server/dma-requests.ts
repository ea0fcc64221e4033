import { fail } from "../kernel/errors.ts";
import * as layout from "../vfio-user/layouts.ts";
import type { Message } from "../vfio-user/message.ts";
import { isMemoryFile } from "../vfio-user/sockets.ts";
import { type Answer, needBody } from "./answer.ts";
import type { ClientDevice } from "./client-device.ts";

const KNOWN_MAP = layout.DMA_REGION_READ | layout.DMA_REGION_WRITE | layout.DMA_REGION_MMAP | layout.DMA_REGION_FILE_IO;

/** DMA_MAP: with a descriptor the bytes are in that file, without one the client is asked for each access. */
export function dmaMap({ memory, files }: ClientDevice, message: Message): undefined {
  const { size: length } = layout.DmaMapBody;
  needBody(message, length);
  const { argsz, flags, offset, address, size } = layout.DmaMapBody.decode(message.body);
  if (argsz < length) fail("EINVAL", `argsz of DMA_MAP is ${argsz}, at least ${length} are needed`);
  if (flags & ~KNOWN_MAP) fail("EINVAL", `unknown flag bits 0x${(flags & ~KNOWN_MAP).toString(16)}`);
  if (message.descriptorCount > 1) fail("EINVAL", `a DMA region has one descriptor, not ${message.descriptorCount}`);
  const needsFile = flags & (layout.DMA_REGION_MMAP | layout.DMA_REGION_FILE_IO);
  if (needsFile && message.descriptorCount === 0)
    fail("EINVAL", "the flags of DMA_MAP want a descriptor, and none came");
  if (offset + size > BigInt(Number.MAX_SAFE_INTEGER)) fail("EINVAL", `no file has an offset of ${offset}`);
  const fd = message.takeDescriptor(0);
  const file = fd === undefined ? undefined : takeFile(files, fd);
  try {
    const read = (flags & layout.DMA_REGION_READ) !== 0;
    const write = (flags & layout.DMA_REGION_WRITE) !== 0;
    memory.map({ start: address, size, read, write, file, offset: Number(offset) });
  } catch (error) {
    if (file) files.drop(file);
    throw error;
  }
  return undefined;
}

function takeFile(files: ClientDevice["files"], fd: number) {
  if (isMemoryFile(fd)) return files.add(fd);
  files.refuse(fd);
  fail("EINVAL", "the descriptor of a DMA region is of no file whose bytes are in memory or on a disk of this machine");
}

/**
 * DMA_UNMAP: exactly what was mapped, or all. The answer repeats the question, with what was written when that is
 * asked.
 */
export function dmaUnmap({ memory }: ClientDevice, message: Message): Answer {
  const { size: length } = layout.DmaUnmapBody;
  needBody(message, length);
  const { argsz, flags, address, size } = layout.DmaUnmapBody.decode(message.body);
  if (argsz < length || argsz > layout.DEFAULT_TRANSFER)
    fail("EINVAL", `argsz of DMA_UNMAP is ${argsz}; ${length} to ${layout.DEFAULT_TRANSFER} are possible`);
  const head = message.body.subarray(0, length);
  switch (flags) {
    case 0:
      memory.unmap(address, size);
      return { parts: [head] };
    case layout.DMA_UNMAP_ALL:
      if (address !== 0n || size !== 0n) fail("EINVAL", "DMA_UNMAP of all has address and size 0");
      memory.unmapAll();
      return { parts: [head] };
    case layout.DMA_UNMAP_DIRTY_BITMAP: {
      const whole = length + layout.BitmapBody.size;
      needBody(message, whole);
      const wanted = layout.BitmapBody.decode(message.body.subarray(length));
      if (BigInt(argsz) < BigInt(whole) + wanted.size) fail("EINVAL", `argsz ${argsz} has no room for the bitmap`);
      const bitmap = memory.log.report(address, size, wanted.pgsize);
      if (BigInt(bitmap.length) !== wanted.size)
        fail("EINVAL", `the bitmap of ${size} bytes has ${bitmap.length} bytes, not ${wanted.size}`);
      memory.unmap(address, size);
      return { parts: [message.body.subarray(0, whole), bitmap] };
    }
    default:
      fail("EINVAL", `unknown flag bits 0x${flags.toString(16)}`);
  }
}
