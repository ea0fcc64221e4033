import type { CallContext, Reply } from "./call-context.ts";
import { ST_VALID, SYSFS_MAGIC } from "./linux.ts";

/** struct statfs of 64-bit machines: type@0, bsize@8, namelen@64, frsize@72, flags@80, a word each. */
const SIZE = 120;
const PAGE = 4096;
const NAME_MAX = 255;

/**
 * fstatfs: what stands for sysfs is sysfs. libudev takes devices from nothing else (sd-device.c:device_set_syspath),
 * and with it udevadm, driverctl and libvirt.
 */
export function handleStatfs(context: CallContext): Reply {
  const { listener, task, sysfs } = context.on;
  if (!context.stat(listener.int(0)) || !sysfs.hasLastStat()) return "native";
  const answer = Buffer.alloc(SIZE);
  const words = { 0: SYSFS_MAGIC, 8: PAGE, 64: NAME_MAX, 72: PAGE, 80: ST_VALID };
  for (const [at, value] of Object.entries(words)) answer.writeBigUInt64LE(BigInt(value), Number(at));
  task.memory.copyOut(listener.word(1, context.abi), answer, SIZE);
  return 0;
}
