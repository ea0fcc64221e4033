import { ALL_NAMESPACES, type Command } from "./command.ts";
import type { CommandContext } from "./command-context.ts";
import { ERROR_EVENT, HEALTH_EVENT, NOTICE_EVENT } from "./events.ts";
import { TEMPERATURE } from "./features.ts";
import { effects, IDENTIFY_SIZE, namespaceList } from "./identify.ts";
import * as status from "./status.ts";

const ERRORS_SIZE = 64;
const SLOTS_SIZE = 512;
const HEALTH_SIZE = 512;
/** The firmware in the first slot: 8 characters. */
const FIRST_SLOT = "1.0     ";
const TEMPERATURE_WARNING = 1 << 1;
/** Data units of the health log: thousand times 512 bytes. */
const DATA_UNIT = 512_000n;
/** CC.CSS: the NVM command set only, or all that Identify tells of. */
const NVM_ONLY = 0;
const ALL_SETS = 6;

const SLOTS_PAGE = 0x03;
const EFFECTS_PAGE = 0x05;
/** Bytes of the log pages that there are. */
export const LOG_SIZES: ReadonlyMap<number, number> = new Map([
  [ERROR_EVENT.page, ERRORS_SIZE],
  [HEALTH_EVENT.page, HEALTH_SIZE],
  [SLOTS_PAGE, SLOTS_SIZE],
  [NOTICE_EVENT.page, IDENTIFY_SIZE],
  [EFFECTS_PAGE, IDENTIFY_SIZE],
]);

/** What a log page is now, or a status. */
export function logPage(controller: CommandContext, command: Command): Uint8Array | number {
  const retains = (command.dword(10) & (1 << 15)) !== 0;
  const { events } = controller;
  switch (command.dword(10) & 0xff) {
    case ERROR_EVENT.page:
      if (!retains) events.clear(ERROR_EVENT);
      return new Uint8Array(ERRORS_SIZE);
    case HEALTH_EVENT.page:
      return health(controller, command.nsid, retains);
    case SLOTS_PAGE: {
      const slots = new Uint8Array(SLOTS_SIZE);
      slots[0] = 1;
      slots.set(new TextEncoder().encode(FIRST_SLOT), 8);
      return slots;
    }
    case NOTICE_EVENT.page: {
      if (!retains) events.clear(NOTICE_EVENT);
      return namespaceList(controller.takeChangedNamespaces());
    }
    case EFFECTS_PAGE: {
      const { commandSet } = controller;
      const isNvm = command.dword(14) >>> 24 === 0;
      return effects(commandSet === NVM_ONLY || (commandSet === ALL_SETS && isNvm));
    }
    default:
      return status.INVALID_FIELD | status.DNR;
  }
}

function health(controller: CommandContext, nsid: number, retains: boolean): Uint8Array | number {
  const all = controller.attached();
  const meant = nsid === ALL_NAMESPACES ? all : all.filter(({ id }) => id === nsid);
  if (meant.length === 0 && nsid !== ALL_NAMESPACES) return status.INVALID_NAMESPACE | status.DNR;
  const { events, features } = controller;
  if (!retains) events.clear(HEALTH_EVENT);
  const bytes = new Uint8Array(HEALTH_SIZE);
  const view = new DataView(bytes.buffer);
  if (features.isTooWarm) bytes[0] = TEMPERATURE_WARNING;
  view.setUint16(1, TEMPERATURE, true);
  const sum = (count: (namespace: (typeof meant)[number]) => number) =>
    meant.reduce((total, namespace) => total + BigInt(count(namespace)), 0n);
  const units = (total: bigint) => (total + DATA_UNIT - 1n) / DATA_UNIT;
  view.setBigUint64(32, units(sum(({ counts }) => counts.bytesRead)), true);
  view.setBigUint64(48, units(sum(({ counts }) => counts.bytesWritten)), true);
  view.setBigUint64(
    64,
    sum(({ counts }) => counts.reads),
    true,
  );
  view.setBigUint64(
    80,
    sum(({ counts }) => counts.writes),
    true,
  );
  view.setBigUint64(128, BigInt(Math.floor(controller.age / 3_600_000)), true);
  return bytes;
}
