import { type SavedState, SavedStateError } from "../../saved-state.ts";
import type { Causes } from "./causes.ts";
import { QUEUES, REGISTERS_SIZE, VECTORS } from "./registers.ts";
import { noTransmission, type TransmitQueue, type TransmitState } from "./transmit.ts";

const VERSION = 1;
const PHY = 32;

interface Parts {
  readonly values: Uint32Array;
  readonly phy: Uint16Array;
  readonly causes: Causes;
  readonly queues: readonly TransmitQueue[];
  readonly ioAddress: number;
  readonly negotiates: boolean;
}

/** What is read back. */
export interface ReadIgb {
  readonly values: Uint32Array;
  readonly phy: Uint32Array;
  readonly throttles: Uint32Array;
  readonly timing: readonly [quiet: number, postponed: number];
  readonly ioAddress: number;
  readonly negotiates: boolean;
  readonly transmissions: readonly TransmitState[];
}

/** Words of 32 bits before the queues. */
const HEAD = REGISTERS_SIZE / 4 + PHY + VECTORS + 4;
/** Words of a queue before its bytes: two contexts of two, whether a packet has begun, its first words, lost, count. */
const QUEUE = 9;

/**
 * Version 1: little-endian words: all registers, those of the PHY, EITR as read, quiet and postponed vectors, IOADDR,
 * whether the ports negotiate; then for each sending queue its contexts, the packet that has begun, and its bytes.
 */
export function saveIgb({ values, phy, causes, queues, ioAddress, negotiates }: Parts): SavedState {
  const words = [...phy, ...causes.throttles, ...causes.timing, ioAddress, negotiates ? 1 : 0];
  const registers = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const pieces = [registers, bytesOf(words)];
  for (const { state } of queues) {
    const { contexts, first, bytes, isLost } = state;
    pieces.push(
      bytesOf([
        ...contexts.flatMap(({ vlanMacipLens, mssL4Len }) => [vlanMacipLens, mssL4Len]),
        ...(first ? [1, first.command, first.options] : [0, 0, 0]),
        isLost ? 1 : 0,
        bytes.length,
      ]),
      bytes,
    );
  }
  return { version: VERSION, bytes: Buffer.concat(pieces) };
}

/** @throws SavedStateError */
export function readIgb({ version, bytes }: SavedState): ReadIgb {
  if (version !== VERSION)
    throw new SavedStateError(`igb: version ${version} of the state is unknown (known: ${VERSION})`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (count: number) => {
    if (at + 4 * count > bytes.length) throw new SavedStateError(`igb: the state ends at byte ${bytes.length}`);
    const words = Uint32Array.from({ length: count }, (_, i) => view.getUint32(at + 4 * i, true));
    at += 4 * count;
    return words;
  };
  const head = take(HEAD);
  const registers = REGISTERS_SIZE / 4;
  const rest = head.subarray(registers + PHY + VECTORS);
  const transmissions = Array.from({ length: QUEUES }, (): TransmitState => {
    const [vlan0, mss0, vlan1, mss1, begun, command, options, isLost, count] = take(QUEUE);
    const end = at + count!;
    if (end > bytes.length) throw new SavedStateError(`igb: the state ends at byte ${bytes.length}`);
    const state: TransmitState = {
      ...noTransmission(),
      contexts: [
        { vlanMacipLens: vlan0!, mssL4Len: mss0! },
        { vlanMacipLens: vlan1!, mssL4Len: mss1! },
      ],
      first: begun ? { command: command!, options: options! } : undefined,
      bytes: bytes.slice(at, end),
      isLost: isLost !== 0,
    };
    at = end;
    return state;
  });
  if (at !== bytes.length) throw new SavedStateError(`igb: ${bytes.length - at} bytes are left over of the state`);
  return {
    values: head.subarray(0, registers),
    phy: head.subarray(registers, registers + PHY),
    throttles: head.subarray(registers + PHY, registers + PHY + VECTORS),
    timing: [rest[0]!, rest[1]!],
    ioAddress: rest[2]!,
    negotiates: rest[3] !== 0,
    transmissions,
  };
}

function bytesOf(words: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * words.length);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of words.entries()) view.setUint32(4 * i, word, true);
  return bytes;
}
