import { fail } from "../kernel/errors.ts";
import type { Task } from "../kernel/task.ts";
import { wordFromBigInt } from "../kernel/word.ts";
import type { UserFormat } from "./domain.ts";

/** No allocation of the kernel's is larger, in bytes (KMALLOC_MAX_SIZE). */
const ALLOCATION_MAX = 2 ** 22;
const PIECE = 4096;
/** How many entries of a list are read before others have their turn. */
const ENTRIES_OF_A_STEP = 64;

/** A structure in a caller's memory that is for the IOMMU's driver (struct iommu_user_data). */
export interface UserData {
  readonly task: Task;
  /** Which structure the caller says it is. */
  readonly type: number;
  readonly address: bigint;
  /** Bytes. */
  readonly length: number;
}

/** A list of such structures (struct iommu_user_data_array). */
export interface UserDataArray {
  readonly task: Task;
  readonly type: number;
  readonly address: bigint;
  /** Bytes of each. */
  readonly entryLength: number;
  readonly entries: number;
}

/**
 * Reads a structure whose caller may know an older version of it: what that lacks is zero
 * (iommu.h:__iommu_copy_struct_from_user).
 * @throws KernelError EINVAL (another type, a size that none of its versions has), EFAULT
 */
export function readUserData<T>({ task, type, address, length }: UserData, format: UserFormat<T>): T {
  refuseType(type, format);
  return format.decode(copyIn(task, address, length, format), task.memory.littleEndian);
}

/** The same for one of a list. */
export function readUserEntry<T>(array: UserDataArray, index: number, format: UserFormat<T>): T {
  const { task, type, entryLength } = array;
  const address = array.address + BigInt(index * entryLength);
  return readUserData({ task, type, address, length: entryLength }, format);
}

/**
 * Writes it back, as much of it as the caller's version has (iommu.h:__iommu_copy_struct_to_user).
 * @throws KernelError EFAULT
 */
export function writeUserData({ task, address, length }: UserData, bytes: Uint8Array): void {
  task.memory.copyOut(wordFromBigInt(address), bytes, Math.min(length, bytes.length));
}

/**
 * Reads a whole list, in steps, before anything is done with it (iommu.h:iommu_copy_struct_from_full_user_array).
 * Entries may be shorter than the structure, and longer when the rest is zero.
 * @param done `entries` is what the caller hears as the number of those that were done: all of them when there is no
 * memory for the list, as in the kernel, else none
 * @throws KernelError ENOMEM, EINVAL, E2BIG, EFAULT
 */
export function* readUserArray<T>(
  array: UserDataArray,
  format: UserFormat<T>,
  done: { entries: number },
): Generator<void, readonly T[]> {
  const { task, entries, entryLength } = array;
  if (entries * format.size > ALLOCATION_MAX) {
    done.entries = entries;
    fail("ENOMEM", `${entries} times ${format.size} bytes are more than the ${ALLOCATION_MAX} that a kernel allocates`);
  }
  refuseType(array.type, format);
  if (entries === 0) fail("EINVAL", "the list is empty");
  const list: T[] = [];
  for (let index = 0; index < entries; index++) {
    const address = array.address + BigInt(index * entryLength);
    refuseTail(task, address, entryLength, format);
    const bytes = new Uint8Array(format.size);
    task.memory.copyIn(wordFromBigInt(address), bytes, Math.min(entryLength, format.size));
    list.push(format.decode(bytes, task.memory.littleEndian));
    if (list.length % ENTRIES_OF_A_STEP === 0) yield;
  }
  return list;
}

function refuseType(type: number, format: UserFormat<unknown>): void {
  if (type !== format.type) fail("EINVAL", `type ${type} is not that of struct ${format.name}, ${format.type}`);
}

function copyIn(task: Task, address: bigint, length: number, format: UserFormat<unknown>): Uint8Array {
  const { name, size, minimum = size } = format;
  if (length < minimum || length > size) {
    const known = minimum === size ? `${size}` : `${minimum} to ${size}`;
    fail("EINVAL", `struct ${name} has ${known} bytes, not ${length}`);
  }
  const bytes = new Uint8Array(size);
  task.memory.copyIn(wordFromBigInt(address), bytes, length);
  return bytes;
}

/** uaccess.h:copy_struct_from_user: bytes that this kernel knows nothing of must be zero. */
function refuseTail({ memory }: Task, address: bigint, length: number, { name, size }: UserFormat<unknown>): void {
  const piece = new Uint8Array(PIECE);
  for (let at = size; at < length; at += PIECE) {
    const count = Math.min(PIECE, length - at);
    memory.copyIn(wordFromBigInt(address + BigInt(at)), piece, count);
    if (piece.subarray(0, count).some((byte) => byte !== 0)) {
      fail("E2BIG", `an entry has ${length} bytes; those behind struct ${name} (${size}) must be zero`);
    }
  }
}
