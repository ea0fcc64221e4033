import { crc32c, finished, partialSum } from "./checksum.ts";

/** Ethernet frames as the controllers' parsers see them (82576 datasheet, 7.1.5): what they carry and where. */

export const ETHERNET_HEADER = 14;
/** The shortest frame without its checksum, and the checksum. */
export const MINIMUM = 60;
export const FCS = 4;
export const TCP = 6;
export const UDP = 17;
export const SCTP = 132;

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const VLAN_TYPES: ReadonlySet<number> = new Set([0x8100, 0x88a8]);
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
/** IPv6 extension headers that are skipped: hop-by-hop, routing, destination options. A fragment ends the search. */
const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 60]);
const FRAGMENT = 44;
/** Where the checksum lies in each transport's header, and how long that is at least. */
const TRANSPORTS: ReadonlyMap<number, { readonly checksum: number; readonly header: number }> = new Map([
  [TCP, { checksum: 16, header: 20 }],
  [UDP, { checksum: 6, header: 8 }],
  [SCTP, { checksum: 8, header: 12 }],
]);

/** What a frame carries. Offsets are from its start; 0 for what is not there. */
export interface Parsed {
  readonly version: 4 | 6 | 0;
  /** Of the IP header. */
  readonly network: number;
  /** TCP, UDP, SCTP, or 0 for anything else. */
  readonly protocol: number;
  /** Of the header behind IP's. */
  readonly transport: number;
  /** Where the IP packet ends; the rest of the frame is padding. */
  readonly end: number;
  readonly isFragment: boolean;
  readonly hasExtensions: boolean;
}

const NOTHING: Parsed = {
  version: 0,
  network: 0,
  protocol: 0,
  transport: 0,
  end: 0,
  isFragment: false,
  hasExtensions: false,
};

export function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

export function setWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

/** @param toEnd the IP packet goes to the end of the frame, whatever it says: one that is about to be cut */
export function parse(frame: Uint8Array, toEnd = false): Parsed {
  let at = ETHERNET_HEADER;
  let type = word(frame, at - 2);
  for (let tags = 0; tags < 2 && VLAN_TYPES.has(type) && frame.length >= at + 4; tags++) {
    type = word(frame, at + 2);
    at += 4;
  }
  if (type === ETHERTYPE_IPV4) return parseIpv4(frame, at, toEnd);
  return type === ETHERTYPE_IPV6 ? parseIpv6(frame, at, toEnd) : NOTHING;
}

function parseIpv4(frame: Uint8Array, network: number, toEnd: boolean): Parsed {
  if (frame.length < network + IPV4_HEADER || frame[network]! >>> 4 !== 4) return NOTHING;
  const header = (frame[network]! & 0xf) * 4;
  if (header < IPV4_HEADER || frame.length < network + header) return NOTHING;
  const declared = network + Math.max(word(frame, network + 2), header);
  const end = toEnd ? frame.length : Math.min(frame.length, declared);
  const isFragment = (word(frame, network + 6) & 0x3fff) !== 0;
  const transport = network + header;
  const protocol = isFragment ? 0 : transportOf(frame[network + 9]!, end - transport);
  return { version: 4, network, protocol, transport, end, isFragment, hasExtensions: false };
}

function parseIpv6(frame: Uint8Array, network: number, toEnd: boolean): Parsed {
  if (frame.length < network + IPV6_HEADER || frame[network]! >>> 4 !== 6) return NOTHING;
  const declared = network + IPV6_HEADER + word(frame, network + 4);
  const end = toEnd ? frame.length : Math.min(frame.length, declared);
  let next = frame[network + 6]!;
  let transport = network + IPV6_HEADER;
  let hasExtensions = false;
  while (EXTENSIONS.has(next) && transport + 8 <= end) {
    hasExtensions = true;
    next = frame[transport]!;
    transport += 8 * (frame[transport + 1]! + 1);
  }
  const isFragment = next === FRAGMENT;
  const protocol = transportOf(next, end - transport);
  return { version: 6, network, protocol, transport, end, isFragment, hasExtensions: hasExtensions || isFragment };
}

function transportOf(protocol: number, length: number): number {
  const header = TRANSPORTS.get(protocol)?.header;
  return header !== undefined && length >= header ? protocol : 0;
}

/** The sum over source, destination, protocol and length that TCP and UDP have beside their own bytes. */
export function pseudoHeaderSum(frame: Uint8Array, { version, network }: Parsed, protocol: number, length: number) {
  const [from, to] = version === 4 ? [network + 12, network + 20] : [network + 8, network + 40];
  return partialSum(frame, from, to, protocol + length);
}

/** Puts IPv4's header checksum into it. */
export function fillIpv4Checksum(frame: Uint8Array, { network, transport }: Parsed): void {
  setWord(frame, network + 10, 0);
  setWord(frame, network + 10, finished(partialSum(frame, network, transport)));
}

/** Where the transport's checksum is, from the start of the frame; undefined for what has none. */
export function checksumAt({ protocol, transport }: Parsed): number | undefined {
  const place = TRANSPORTS.get(protocol);
  return place && transport + place.checksum;
}

/** Puts the transport's checksum into a packet. Not for what is neither TCP, UDP nor SCTP. */
export function fillTransportChecksum(frame: Uint8Array, parsed: Parsed): void {
  const { protocol, transport, end } = parsed;
  const at = checksumAt(parsed);
  if (at === undefined) return;
  if (protocol === SCTP) {
    new DataView(frame.buffer, frame.byteOffset).setUint32(at, crc32c(frame, transport, end, at), true);
    return;
  }
  setWord(frame, at, 0);
  const sum = pseudoHeaderSum(frame, parsed, protocol, end - transport);
  // zero means that there is none
  setWord(frame, at, finished(partialSum(frame, transport, end, sum)) || 0xffff);
}

/** Whether IPv4's header checksum is right; undefined for what has none. */
export function checkNetwork(frame: Uint8Array, { version, network, transport }: Parsed): boolean | undefined {
  return version === 4 ? finished(partialSum(frame, network, transport)) === 0 : undefined;
}

/** Whether the transport's checksum is right; undefined for what has none. */
export function checkTransport(frame: Uint8Array, parsed: Parsed): boolean | undefined {
  const { protocol, transport, end, isFragment } = parsed;
  if (protocol === 0 || isFragment) return undefined;
  if (protocol === SCTP) {
    const recorded = new DataView(frame.buffer, frame.byteOffset).getUint32(transport + 8, true);
    return crc32c(frame, transport, end, transport + 8) === recorded;
  }
  if (protocol === UDP && word(frame, transport + 6) === 0) return undefined;
  const sum = pseudoHeaderSum(frame, parsed, protocol, end - transport);
  return finished(partialSum(frame, transport, end, sum)) === 0;
}

export function isBroadcast(frame: Uint8Array): boolean {
  for (let i = 0; i < 6; i++) if (frame[i] !== 0xff) return false;
  return true;
}

export function isMulticast(frame: Uint8Array): boolean {
  return (frame[0]! & 1) !== 0;
}
