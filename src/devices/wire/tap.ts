import { constants, openSync } from "node:fs";
import { call, DescriptorWire, lastError, WireError } from "./descriptor-wire.ts";
import type { Port, Wire } from "./wire.ts";

/** linux/if_tun.h: an interface of Ethernet, without anything before its frames. */
const TUNSETIFF = 0x4004_54ca;
const IFF_TAP_NO_PI = 0x1002;
/** struct ifreq: a name, then the flags. */
const NAME = 16;
const IFREQ = 40;

/** The longest name of an interface. */
export const LONGEST_NAME = NAME - 1;

/**
 * A tap interface of this machine: one that is there, or that is there as long as the host is. It wants CAP_NET_ADMIN,
 * or an interface that was given to the user (`ip tuntap add NAME mode tap user USER`).
 * Throws WireError.
 */
export function tapWire(port: Port, name: string, resumed: () => void): Wire {
  let fd: number;
  try {
    fd = openSync("/dev/net/tun", constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    throw new WireError(`${name}: /dev/net/tun cannot be opened: ${(error as NodeJS.ErrnoException).code}`);
  }
  const request = Buffer.alloc(IFREQ);
  request.write(name, 0, "latin1");
  request.writeUInt16LE(IFF_TAP_NO_PI, NAME);
  if (call("int ioctl(int, unsigned long, void *)")(fd, TUNSETIFF, request) !== 0)
    throw new WireError(`${name}: no tap interface to be had: ${lastError()}`);
  const read = call("int64_t read(int, void *, size_t)");
  const write = call("int64_t write(int, void *, size_t)");
  return new DescriptorWire(
    port,
    (into) => Number(read(fd, into, into.length)),
    (frame) => void write(fd, frame, frame.length),
    resumed,
  );
}
