/** Bytes of the disk from which on a guest writes. */
export const OFFSET = 3 * 65536;
export const PATTERN = Buffer.from("uvfio-was-here\n".repeat(64 * 1024)).subarray(0, 8 * 65536);

/** A guest whose nvme driver is loaded writes a pattern, drops what it has in its own memory, and reads it back. */
export const WRITES_AND_READS_BACK = `
sleep 2
echo "disk $(cat /sys/block/nvme0n1/size) $(cat /sys/block/nvme0n1/device/serial)"
yes uvfio-was-here | dd of=/pattern bs=64k count=8 iflag=fullblock 2>/dev/null
dd if=/pattern of=/dev/nvme0n1 bs=64k seek=3 conv=fsync 2>/dev/null
echo 3 > /proc/sys/vm/drop_caches
dd if=/dev/nvme0n1 of=/back bs=64k skip=3 count=8 2>/dev/null
cmp /pattern /back && echo same
dmesg | grep 'nvme nvme0'
`;
