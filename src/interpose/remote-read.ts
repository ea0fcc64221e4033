import type { CallAside, Room } from "./aside/aside-jobs.ts";
import { ROOM_SIZE } from "./aside/aside-thread.ts";
import { HOST_CALLS } from "./host-calls.ts";

/** Where the bytes are in the room; two struct iovec, ours and the thread's, lie in front. */
export const READ_AT = 64;
/** Bytes that one call reads at most. */
export const READ_MOST = ROOM_SIZE - READ_AT;

/** process_vm_readv() of a thread's memory, to be made aside. */
export function remoteRead(room: Room, tid: number, address: number, length: number): CallAside {
  const words = [room.address + READ_AT, length, address, length];
  for (const [index, word] of words.entries()) room.bytes.writeBigUInt64LE(BigInt(word), 8 * index);
  return [HOST_CALLS.process_vm_readv, tid, room.address, 1, room.address + 16, 1, 0];
}
