import { type Parsed, TCP, UDP } from "./frame.ts";
import type { RegisterFile } from "./register-file.ts";
import * as reg from "./registers.ts";

/** What RSS makes of a packet (82574 datasheet, 7.1.11; 82576 datasheet, 7.1.2.8). */
export interface Hashed {
  /** RSS type in a descriptor; 0 for none. */
  readonly type: number;
  readonly hash: number;
  /** What the redirection table says: a byte, which names a queue. */
  readonly entry: number;
}

export const NOT_HASHED: Hashed = { type: 0, hash: 0, entry: 0 };

const IPV4_TCP = { field: 1 << 16, type: 1, ports: true };
const IPV4 = { field: 1 << 17, type: 2, ports: false };
const IPV6_TCP = { field: 1 << 18, type: 3, ports: true };
const IPV6_EX = { field: 1 << 19, type: 4, ports: false };
const IPV6 = { field: 1 << 20, type: 5, ports: false };
const IPV4_UDP = { field: 1 << 22, type: 7, ports: true };
const IPV6_UDP = { field: 1 << 23, type: 8, ports: true };
const KEY_BYTES = 40;
const TABLE_BYTES = 128;

/** @param fields the bits of MRQC that say what is hashed */
export function hashed(frame: Uint8Array, parsed: Parsed, file: RegisterFile, fields: number): Hashed {
  const kind = kindOf(parsed, fields, file.get(reg.RFCTL));
  if (!kind) return NOT_HASHED;
  const { version, network, transport } = parsed;
  const [from, to] = version === 4 ? [network + 12, network + 20] : [network + 8, network + 40];
  const input = new Uint8Array(to - from + (kind.ports ? 4 : 0));
  input.set(frame.subarray(from, to));
  if (kind.ports) input.set(frame.subarray(transport, transport + 4), to - from);
  const hash = toeplitz(file.bytes(reg.RSSRK, KEY_BYTES), input);
  return { type: kind.type, hash, entry: file.bytes(reg.RETA, TABLE_BYTES)[hash & 0x7f]! };
}

function kindOf({ version, protocol, hasExtensions }: Parsed, fields: number, rfctl: number) {
  const candidates: { readonly field: number; readonly type: number; readonly ports: boolean }[] = [];
  if (version === 4) {
    if (protocol === TCP) candidates.push(IPV4_TCP);
    if (protocol === UDP) candidates.push(IPV4_UDP);
    candidates.push(IPV4);
  } else if (version === 6) {
    if (!(hasExtensions && rfctl & reg.RFCTL_IPV6_EX_DIS)) {
      if (protocol === TCP) candidates.push(IPV6_TCP);
      if (protocol === UDP) candidates.push(IPV6_UDP);
      candidates.push(IPV6_EX);
    }
    candidates.push(IPV6);
  }
  return candidates.find(({ field }) => fields & field);
}

/** The hash of Microsoft's RSS: 32 bits of the key, moved on by one for each bit of the input. */
function toeplitz(key: Uint8Array, input: Uint8Array): number {
  let window = (key[0]! << 24) | (key[1]! << 16) | (key[2]! << 8) | key[3]!;
  let hash = 0;
  for (const [i, byte] of input.entries()) {
    const next = key[i + 4] ?? 0;
    for (let bit = 7; bit >= 0; bit--) {
      if ((byte >>> bit) & 1) hash ^= window;
      window = (window << 1) | ((next >>> bit) & 1);
    }
  }
  return hash >>> 0;
}
