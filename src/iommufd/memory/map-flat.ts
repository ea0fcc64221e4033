import type { Task } from "../../kernel/task.ts";
import type { UserStruct } from "../../vfio/user-struct.ts";
import type { IommufdContext } from "../context.ts";
import type { AreaAccess } from "./area.ts";
import { type Domain, type IoPageTable, wantsWriteable } from "./io-page-table.ts";

const HIGH = 2 ** 32;
/** Of numbers that have their upper half below this the sum of two is below 2^53. */
const HIGH_END = 2 ** 20;

/** Where a request's structure has what it is about. */
interface RangeFields {
  readonly length: number;
  readonly iova: number;
}

/** The same of what is to be mapped. */
interface Fields extends RangeFields {
  readonly address: number;
}

/** Whether the numbers of a request are ones that mapFlat() takes, or an unmap of what that has mapped. */
export function isUsual(context: IommufdContext, user: UserStruct, at: RangeFields): boolean {
  // a fault may be due at any place of the long way
  if (context.module.faults) return false;
  if (user.high(at.length) >= HIGH_END || user.high(at.iova) >= HIGH_END) return false;
  return (user.low(at.length) | user.high(at.length)) !== 0;
}

/**
 * Maps memory of the caller's own as nearly all is mapped: it can be, and no other shows it. What cannot be, or not so,
 * is left undone, and mapNew() says why or does it.
 * @param user the request, whose numbers isUsual() has taken
 * @returns whether it is mapped
 */
export function mapFlat(
  context: IommufdContext,
  table: IoPageTable,
  task: Task,
  user: UserStruct,
  at: Fields,
  access: AreaAccess,
): boolean {
  if (user.high(at.address) >= HIGH_END) return false;
  if ((user.low(at.address) | user.low(at.length) | user.low(at.iova)) & table.mask) return false;
  const start = numberAt(user, at.iova);
  const length = numberAt(user, at.length);
  if (table.isReserved(start, length) || !table.areas.isFree(start, length)) return false;
  const { readable, writeable } = access;
  for (const domain of table.domains) if (!takes(domain, access, start, length)) return false;
  const address = numberAt(user, at.address);
  const account = context.module.accounts.of(task, context.accountMode);
  let pin: number | undefined;
  if (table.domains.length > 0) {
    const space = task.memory;
    // the remainder of a number beyond 32 bits is a slow call
    const offset = user.low(at.address) & (context.pageSize - 1);
    const pages = Math.ceil((offset + length) / context.pageSize);
    pin = space.pinFast(address - offset, pages, writeable);
    if (pin < 0) return false;
    if (space.charged < pages || !account.tryCharge(pages)) {
      space.unpin(pin);
      return false;
    }
  }
  table.addFlat({ start, length, address, readable, writeable }, account, pin);
  return true;
}

/** refuseArea() says why not. */
function takes(domain: Domain, { readable, writeable }: AreaAccess, start: number, length: number): boolean {
  const { doorbellPage } = domain;
  if (doorbellPage !== undefined && start <= doorbellPage && doorbellPage < start + length) return false;
  if (!writeable && wantsWriteable(domain)) return false;
  return readable || writeable || domain.unit.mapsNoAccess;
}

/** A 64-bit field that isUsual() has taken. */
export function numberAt(user: UserStruct, at: number): number {
  return user.high(at) * HIGH + user.low(at);
}
