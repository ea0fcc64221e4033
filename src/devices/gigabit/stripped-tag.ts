import * as frames from "./frame.ts";

const MAC_ADDRESSES = 12;
const VLAN_TAG = 4;

/**
 * The tag that is taken out of a frame, and what is left of it.
 * @param types of the tag (the low half), and of one before it that stays where `isExtended`
 */
export function strippedTag(
  frame: Uint8Array,
  types: number,
  isExtended = false,
): [tag: number | undefined, shown: Uint8Array] {
  const at = isExtended ? MAC_ADDRESSES + VLAN_TAG : MAC_ADDRESSES;
  if (isExtended && frames.word(frame, MAC_ADDRESSES) !== types >>> 16) return [undefined, frame];
  if (frames.word(frame, at) !== (types & 0xffff)) return [undefined, frame];
  const shown = new Uint8Array(frame.length - VLAN_TAG);
  shown.set(frame.subarray(0, at));
  shown.set(frame.subarray(at + VLAN_TAG), at);
  return [frames.word(frame, at + 2), shown];
}
