import { unlinkSync } from "node:fs";
import { call, DescriptorWire, lastError, WireError } from "./descriptor-wire.ts";
import type { Port, Wire } from "./wire.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** struct sockaddr_un: the family, and a path that ends with a zero. */
const PATH = 108;
const ADDRESS = 2 + PATH;

/** The longest path of a UNIX socket. */
export const LONGEST_PATH = PATH - 1;

/**
 * A UNIX datagram socket, one frame a datagram, as QEMU's `-netdev dgram,local.type=unix,remote.type=unix` speaks it.
 * The other side may come later, and come back.
 * Throws WireError.
 * @param local where this side listens: made anew
 * @param remote where the other one does
 */
export function datagramWire(port: Port, local: string, remote: string, resumed: () => void): Wire {
  const fd = call("int socket(int, int, int)")(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new WireError(`no socket: ${lastError()}`);
  remove(local);
  if (call("int bind(int, void *, uint32_t)")(fd, address(local), ADDRESS) !== 0)
    throw new WireError(`${local}: cannot be made: ${lastError()}`);
  process.once("exit", () => remove(local));
  const receive = call("int64_t recv(int, void *, size_t, int)");
  const send = call("int64_t sendto(int, void *, size_t, int, void *, uint32_t)");
  const other = address(remote);
  return new DescriptorWire(
    port,
    (into) => Number(receive(fd, into, into.length, MSG_DONTWAIT)),
    (frame) => void send(fd, frame, frame.length, MSG_DONTWAIT | MSG_NOSIGNAL, other, ADDRESS),
    resumed,
  );
}

function address(path: string): Uint8Array {
  const bytes = Buffer.alloc(ADDRESS);
  bytes.writeUInt16LE(AF_UNIX, 0);
  bytes.write(path, 2, "utf8");
  return bytes;
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // nobody has left one
  }
}
