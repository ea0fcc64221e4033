import { finished, partialSum } from "./checksum.ts";
import * as frames from "./frame.ts";

/** What the controllers do to a frame before they send it (82574 datasheet, 7.2; 82576 datasheet, 7.2.4 and 7.2.5). */

const MAC_ADDRESSES = 12;
const VLAN_TAG = 4;
const TCP_FIN_PSH = 0x09;
const TCP_CWR = 0x80;
const TCP_FLAGS = 13;
const UDP_LENGTH = 4;
const UDP_HEADER = 8;

/** The frame with a tag behind its addresses. */
export function withTag(frame: Uint8Array, type: number, tag: number): Uint8Array {
  const tagged = new Uint8Array(frame.length + VLAN_TAG);
  tagged.set(frame.subarray(0, MAC_ADDRESSES));
  frames.setWord(tagged, MAC_ADDRESSES, type);
  frames.setWord(tagged, MAC_ADDRESSES + 2, tag);
  tagged.set(frame.subarray(MAC_ADDRESSES), MAC_ADDRESSES + VLAN_TAG);
  return tagged;
}

/** Fills in the sums that were asked for. */
export function fillChecksums(frame: Uint8Array, { network, transport }: { network: boolean; transport: boolean }) {
  const parsed = frames.parse(frame);
  if (transport && parsed.protocol !== 0) frames.fillTransportChecksum(frame, parsed);
  if (network && parsed.version === 4) frames.fillIpv4Checksum(frame, parsed);
}

/** A checksum of what lies somewhere: the sum from `start` to `end`, at `at`. */
export function fillSum(frame: Uint8Array, start: number, at: number, end = frame.length): void {
  if (start >= end || end > frame.length || at + 2 > frame.length) return;
  frames.setWord(frame, at, finished(partialSum(frame, start, end)));
}

/**
 * Cuts a TCP or UDP packet into segments with headers of their own, one after the other. A packet that is neither goes
 * as it is.
 * @param size bytes of payload in a segment
 */
export function* segments(frame: Uint8Array, size: number): Generator<Uint8Array> {
  const parsed = frames.parse(frame, true);
  const { protocol, transport } = parsed;
  const isTcp = protocol === frames.TCP;
  if (size === 0 || (!isTcp && protocol !== frames.UDP)) {
    yield frame;
    return;
  }
  const payload = transport + (isTcp ? (frame[transport + 12]! >>> 4) * 4 : UDP_HEADER);
  let from = payload;
  let number = 0;
  do {
    yield segment(frame, parsed, { payload, from, to: Math.min(from + size, frame.length), number });
    from += size;
    number++;
  } while (from < frame.length);
}

function segment(
  frame: Uint8Array,
  { version, network, protocol, transport }: frames.Parsed,
  { payload, from, to, number }: { payload: number; from: number; to: number; number: number },
): Uint8Array {
  const result = new Uint8Array(payload + to - from);
  result.set(frame.subarray(0, payload));
  result.set(frame.subarray(from, to), payload);
  if (version === 4) {
    frames.setWord(result, network + 2, result.length - network);
    // each segment is a datagram of its own
    frames.setWord(result, network + 4, (frames.word(frame, network + 4) + number) & 0xffff);
  } else frames.setWord(result, network + 4, result.length - network - 40);
  if (protocol === frames.UDP) frames.setWord(result, transport + UDP_LENGTH, result.length - transport);
  else {
    const view = new DataView(result.buffer);
    view.setUint32(transport + 4, view.getUint32(transport + 4) + from - payload);
    // FIN and PSH belong to the last one, CWR to the first (DTXTCPFLGL, DTXTCPFLGH)
    if (to < frame.length) result[transport + TCP_FLAGS]! &= ~TCP_FIN_PSH;
    if (from > payload) result[transport + TCP_FLAGS]! &= ~TCP_CWR;
  }
  fillChecksums(result, { network: true, transport: true });
  return result;
}
