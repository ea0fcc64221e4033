import type { SavedPort } from "../../gigabit/port.ts";
import { bytesOf, SavedWords } from "../../gigabit/saved-words.ts";
import { type SavedState, SavedStateError } from "../../saved-state.ts";
import type { CauseState } from "./causes.ts";
import { EEPROM_SIZE } from "./facts.ts";
import { QUEUES, REGISTERS_SIZE } from "./registers.ts";
import type { TransmitState } from "./transmit.ts";

const VERSION = 1;
const REGISTERS = REGISTERS_SIZE / 4;
/** Seven pages. */
const PHY = 7 * 32;
/** IOADDR, whether the ports negotiate, and what CauseState has. */
const OTHERS = 7;
/** A context of four words, whether a packet has begun, its first words, lost, count. */
const QUEUE = 9;

interface State extends SavedPort {
  readonly eeprom: Uint16Array | Uint32Array;
  readonly causes: CauseState;
  readonly queues: readonly TransmitState[];
}

type Given = Omit<State, "phy"> & { readonly phy: Uint16Array };

/**
 * Version 1: little-endian words: all registers, those of the PHY page by page, the EEPROM, IOADDR, whether the ports
 * negotiate, causes; then for each sending queue its context, the packet that has begun, and its bytes.
 */
export function saveE1000e({ values, phy, eeprom, causes, queues, ioAddress, negotiates }: Given): SavedState {
  const { delayed, delays, told, quiet, postponed } = causes;
  const others = [ioAddress, negotiates ? 1 : 0, delayed, delays, told, quiet, postponed];
  const registers = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const pieces = [registers, bytesOf([...phy, ...eeprom, ...others])];
  for (const { context, first, bytes, isLost } of queues)
    pieces.push(
      bytesOf([...context, ...(first ? [1, first.command, first.options] : [0, 0, 0]), isLost ? 1 : 0, bytes.length]),
      bytes,
    );
  return { version: VERSION, bytes: Buffer.concat(pieces) };
}

/** @throws SavedStateError */
export function readE1000e({ version, bytes }: SavedState): State {
  if (version !== VERSION)
    throw new SavedStateError(`e1000e: version ${version} of the state is unknown (known: ${VERSION})`);
  const saved = new SavedWords(bytes, "e1000e");
  const [values, phy, eeprom] = [REGISTERS, PHY, EEPROM_SIZE].map((count) => saved.take(count));
  const [ioAddress, negotiates, delayed, delays, told, quiet, postponed] = saved.take(OTHERS);
  const queues = Array.from({ length: QUEUES }, (): TransmitState => {
    const [network, transport, contextCommand, segments, begun, command, options, isLost, count] = saved.take(QUEUE);
    return {
      context: [network!, transport!, contextCommand!, segments!],
      first: begun ? { command: command!, options: options! } : undefined,
      bytes: saved.takeBytes(count!),
      isLost: isLost !== 0,
    };
  });
  saved.end();
  return {
    values: values!,
    phy: phy!,
    eeprom: eeprom!,
    ioAddress: ioAddress!,
    negotiates: negotiates !== 0,
    causes: { delayed: delayed!, delays: delays!, told: told!, quiet: quiet!, postponed: postponed! },
    queues,
  };
}
