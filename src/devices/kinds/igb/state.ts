import type { SavedPort } from "../../gigabit/port.ts";
import { bytesOf, SavedWords } from "../../gigabit/saved-words.ts";
import { type SavedState, SavedStateError } from "../../saved-state.ts";
import type { Causes } from "./causes.ts";
import { QUEUES, REGISTERS_SIZE, VECTORS } from "./registers.ts";
import type { IgbTransmitQueue, TransmitState } from "./transmit.ts";

const VERSION = 1;
const PHY = 32;

interface Parts {
  readonly values: Uint32Array;
  readonly phy: Uint16Array;
  readonly causes: Causes;
  readonly queues: readonly IgbTransmitQueue[];
  readonly ioAddress: number;
  readonly negotiates: boolean;
}

/** What is read back. */
export interface ReadIgb extends SavedPort {
  readonly throttles: Uint32Array;
  readonly timing: readonly [quiet: number, postponed: number];
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
  const saved = new SavedWords(bytes, "igb");
  const head = saved.take(HEAD);
  const registers = REGISTERS_SIZE / 4;
  const rest = head.subarray(registers + PHY + VECTORS);
  const transmissions = Array.from({ length: QUEUES }, (): TransmitState => {
    const [vlan0, mss0, vlan1, mss1, begun, command, options, isLost, count] = saved.take(QUEUE);
    return {
      contexts: [
        { vlanMacipLens: vlan0!, mssL4Len: mss0! },
        { vlanMacipLens: vlan1!, mssL4Len: mss1! },
      ],
      first: begun ? { command: command!, options: options! } : undefined,
      bytes: saved.takeBytes(count!),
      isLost: isLost !== 0,
    };
  });
  saved.end();
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
