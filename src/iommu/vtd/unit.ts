import { PAGE_SHIFT, PAGE_SIZE } from "../../address/pages.ts";
import type { Descriptor } from "../../uapi/intel-invalidation.ts";
import { type AccessMap, addressIn, type Met, pieceOf, walkAccess } from "../dma-walk.ts";
import { VictimChooser } from "../evicting-map.ts";
import type { FirstLevelTable } from "../proposed.ts";
import { type Access, isRefused, type Refused, refuse } from "./access.ts";
import type { DeviceContext } from "./device-context.ts";
import { FaultLog } from "./fault-log.ts";
import { type FaultReason, isRecoverable } from "./fault-reasons.ts";
import { checkPermission, markDirty, walkFirstLevel } from "./first-level.ts";
import { HostMemory } from "./host-memory.ts";
import { IdentityLevel } from "./identity.ts";
import { invalidate } from "./invalidate.ts";
import { NO_DOMAIN, type Tag, type Translation, TranslationCache } from "./iotlb.ts";
import { PasidCache } from "./pasid-cache.ts";
import type { PasidEntry } from "./pasid-entry.ts";
import { findEntry } from "./pasid-table.ts";
import { type SecondLevel, SecondLevelTable } from "./second-level.ts";
import { PagingStructureCache } from "./walk-cache.ts";

export interface VtdUnitOptions {
  /**
   * Entries of the IOTLB, of a device's own TLB, of the PASID cache and of the paging-structure caches. 0 caches
   * nothing.
   */
  readonly capacity?: number;
  /** Decides which entry goes when a cache is full. */
  readonly seed?: number;
  /** Bits of guest physical addresses: first-level entries beyond them are refused. */
  readonly guestAddressBits?: number;
}

/** How a device makes a request. */
export interface RequestOptions {
  /** It looks into its own TLB first, and fills it (ATS). Needs a context with a device TLB. */
  readonly ats?: boolean;
  readonly privileged?: boolean;
  readonly execute?: boolean;
  /** The device can wait for a page (PRI): the transfer ends at the first one that it may ask for. */
  readonly waits?: boolean;
}

/** A request that did not get through. */
export interface RequestFault {
  /** First byte that was not reached. */
  readonly address: bigint;
  readonly reason: FaultReason;
  /** The device may ask for the page: its page requests are on, and it waits. */
  readonly canAsk: boolean;
}

const OTHER_LEVELS = 1n << 51n;

/**
 * An Intel IOMMU in scalable mode: requests with a PASID go through the PASID table to first-level, second-level or
 * nested translation. What it has looked up stays in its caches and goes on answering until it is invalidated, or
 * evicted.
 */
export class VtdUnit {
  readonly memory = new HostMemory();
  readonly faults = new FaultLog();
  readonly iotlb: TranslationCache;
  readonly pasidCache: PasidCache;
  readonly structures: PagingStructureCache;
  /** Descriptors that the queue has processed. */
  descriptors = 0;
  readonly #contexts = new Map<number, DeviceContext>();
  readonly #levels = new Map<bigint, SecondLevel>();
  readonly #identity: SecondLevel;
  readonly #victims: VictimChooser;
  readonly #capacity: number;
  /** The first page that no guest has. */
  readonly #guestLimit: number;
  #nextLevel = 0;

  constructor(options: VtdUnitOptions = {}) {
    const { capacity = 1024, seed = 1, guestAddressBits = 52 } = options;
    this.#victims = new VictimChooser(seed);
    this.#capacity = capacity;
    this.#guestLimit = 2 ** guestAddressBits / PAGE_SIZE;
    this.iotlb = this.newTranslationCache();
    this.pasidCache = new PasidCache(capacity, this.#victims);
    this.structures = new PagingStructureCache(capacity, this.#victims);
    this.#identity = new IdentityLevel(this.memory);
  }

  /** A cache of this unit's size: for a device that caches translations itself. */
  newTranslationCache(): TranslationCache {
    return new TranslationCache(this.#capacity, this.#victims);
  }

  setContext(source: number, context: DeviceContext): void {
    this.#contexts.set(source, context);
  }

  clearContext(source: number): void {
    this.#contexts.delete(source);
  }

  context(source: number): DeviceContext | undefined {
    return this.#contexts.get(source);
  }

  /**
   * A pointer for a second level that is no table in host memory. It only has to be its own; bit 51 keeps it from
   * meeting tables.
   */
  addSecondLevel(level: SecondLevel): bigint {
    const pointer = OTHER_LEVELS | (BigInt(this.#nextLevel++) << 12n);
    this.registerSecondLevel(pointer, level);
    return pointer;
  }

  /** Second levels that are registered: for leak checks. */
  get secondLevelCount(): number {
    return this.#levels.size;
  }

  /** What a second-level pointer means when it is not a table in host memory. */
  registerSecondLevel(pointer: bigint, level: SecondLevel): void {
    this.#levels.set(pointer, level);
  }

  forgetSecondLevel(pointer: bigint): void {
    this.#levels.delete(pointer);
  }

  /** Carries out an invalidation descriptor; a text says what is wrong with it, which stops a real queue. */
  submit(descriptor: Descriptor): string | undefined {
    this.descriptors++;
    return invalidate(this, descriptor);
  }

  /** A device reads. What it cannot reach is zeros. */
  read(source: number, pasid: number, address: bigint, into: Uint8Array, options: RequestOptions = {}) {
    return walkAccess(
      this.requests(source, pasid, options.execute ? "execute" : "read", options),
      address,
      into,
      false,
    );
  }

  /** A device writes. What it cannot reach is dropped. */
  write(source: number, pasid: number, address: bigint, bytes: Uint8Array, options: RequestOptions = {}) {
    return walkAccess(this.requests(source, pasid, "write", options), address, bytes, true);
  }

  /** The same for many requests of one kind. */
  requests(source: number, pasid: number, kind: Access["kind"], options: RequestOptions): AccessMap<RequestFault> {
    return new Requests(this, source, pasid, kind, options);
  }

  /** A request that reaches no table of the device's: it is recorded as one that found nothing there. */
  reject(source: number, pasid: number, address: bigint, kind: Access["kind"], privileged: boolean): RequestFault {
    const reason = this.#contexts.has(source) ? "entryNotPresent" : "noContext";
    this.faults.record(source, pasid, address, { kind, privileged }, reason, false);
    return { address, reason, canAsk: false };
  }

  /**
   * What a request gets to.
   * @param page the number of the address's page of 4 KiB
   * @param ats the device looks into its own TLB first
   */
  translate(source: number, pasid: number, page: number, access: Access, ats: boolean): Translation | Refused {
    const context = this.#contexts.get(source);
    if (!context) return refuse("noContext");
    const own = ats ? context.deviceTlb : undefined;
    if (!own) return this.#translate(source, context, pasid, page, access);
    const tag: Tag = { domain: NO_DOMAIN, pasid };
    const cached = own.find(tag, page);
    if (cached && allowed(cached, undefined, access)) return cached;
    const found = this.#translate(source, context, pasid, page, access);
    if (!isRefused(found)) own.remember({ ...found, tag });
    return found;
  }

  #translate(
    source: number,
    context: DeviceContext,
    pasid: number,
    page: number,
    access: Access,
  ): Translation | Refused {
    const entry = this.#entry(source, context, pasid);
    if (isRefused(entry)) return entry;
    if (entry.firstLevel && access.privileged && !entry.supervisor) return refuse("supervisorDisabled");
    if (access.kind === "execute" && !entry.execute) return refuse("executeDisabled");
    const tag: Tag = { domain: entry.domain, pasid };
    const cached = this.iotlb.find(tag, page);
    if (cached && allowed(cached, entry.firstLevel, access)) return cached;
    const walked = this.#walk(entry, tag, page, access);
    if (!isRefused(walked)) this.iotlb.remember(walked);
    return walked;
  }

  /** The PASID table entry, with what the host decides for a table of the guest's. */
  #entry(source: number, context: DeviceContext, pasid: number): PasidEntry | Refused {
    const cached = this.pasidCache.find(source, pasid);
    if (cached) return cached;
    const found = findEntry(context.tables, context.directory, context.bits, pasid);
    if (isRefused(found)) return found;
    const { guest } = context;
    if (guest && found.type !== "first") return refuse("entryInvalid");
    const entry: PasidEntry = guest
      ? { ...found, type: "nested", domain: guest.domain, secondLevel: guest.secondLevel }
      : found;
    this.pasidCache.remember(source, pasid, entry);
    return entry;
  }

  #walk(entry: PasidEntry, tag: Tag, page: number, access: Access): Translation | Refused {
    const { firstLevel } = entry;
    const second = this.#secondLevel(entry);
    if (!firstLevel) return translateSecond(second, tag, page, access);
    const first = walkFirstLevel(firstLevel, second, page, access, this.#guestLimit, this.structures, tag);
    if (isRefused(first)) return first;
    const end = translateSecond(second, tag, first.page, access);
    if (isRefused(end)) return end;
    const isWrite = access.kind === "write";
    const unmarked = isWrite ? markDirty(first, second) : undefined;
    if (unmarked) return unmarked;
    // the page is as large as the smaller of the two
    const shift = Math.min(first.shift, end.shift);
    const within = pageWithin(page, shift);
    return {
      tag,
      page: page - within,
      shift,
      host: end.host + (first.page - end.page) - within,
      hostRead: end.hostRead,
      hostWrite: end.hostWrite,
      write: first.write,
      user: first.user,
      noExecute: first.noExecute,
      dirty: first.dirty || isWrite,
      isNested: true,
      target: second,
    };
  }

  #secondLevel(entry: PasidEntry): SecondLevel {
    if (entry.type === "first") return this.#identity;
    return this.#levels.get(entry.secondLevel) ?? new SecondLevelTable(this.memory, entry.secondLevel, 4);
  }
}

/**
 * A device's requests of one kind: each page of a transfer is one, which is translated and, when it faults, recorded.
 */
class Requests implements AccessMap<RequestFault> {
  readonly #unit: VtdUnit;
  readonly #source: number;
  readonly #pasid: number;
  readonly #access: Access;
  readonly #ats: boolean;
  readonly #waits: boolean;

  constructor(unit: VtdUnit, source: number, pasid: number, kind: Access["kind"], options: RequestOptions) {
    this.#unit = unit;
    this.#source = source;
    this.#pasid = pasid;
    this.#access = { kind, privileged: options.privileged ?? false };
    this.#ats = options.ats ?? false;
    this.#waits = options.waits ?? false;
  }

  meet(page: number, within: number, bytes: Uint8Array, done: number, write: boolean): Met<RequestFault> {
    const piece = pieceOf(bytes, done, PAGE_SIZE - within);
    const found = this.#unit.translate(this.#source, this.#pasid, page, this.#access, this.#ats);
    if (isRefused(found)) return this.#refuse(found.refused, page, within, piece.length);
    const host = found.host + (page - found.page);
    const { target } = found;
    const isMoved = write ? target.write(host, within, piece) : target.read(host, within, piece);
    return isMoved ? piece.length : this.#refuse("secondPermission", page, within, piece.length);
  }

  #refuse(reason: FaultReason, page: number, within: number, bytes: number): Met<RequestFault> {
    const unit = this.#unit;
    const pageRequests = unit.context(this.#source)?.pageRequests ?? false;
    unit.faults.record(this.#source, this.#pasid, addressIn(page, within), this.#access, reason, pageRequests);
    const canAsk = pageRequests && this.#waits && isRecoverable(reason);
    return { bytes, ends: canAsk, explain: (address) => ({ address, reason, canAsk }) };
  }
}

/** How many pages a page is behind the first of the page of `shift` around it. */
function pageWithin(page: number, shift: number): number {
  // of a number of more than 32 bits these are its lowest: no page has so many
  return page & ((1 << (shift - PAGE_SHIFT)) - 1);
}

/**
 * Whether a cached translation may serve the access. If not, the tables are asked: a permission may have been added.
 */
function allowed(found: Translation, table: FirstLevelTable | undefined, access: Access): boolean {
  if (access.kind === "write" ? !found.hostWrite || !found.dirty : !found.hostRead) return false;
  return checkPermission(table ?? STRICTEST, found, access) === undefined;
}

/** What a device's own TLB assumes: it cannot know how the table is meant. */
const STRICTEST: FirstLevelTable = {
  root: 0n,
  levels: 4,
  writeProtect: true,
  noExecute: true,
  smep: true,
  extendedAccessed: false,
};

function translateSecond(second: SecondLevel, tag: Tag, page: number, access: Access): Translation | Refused {
  const hit = second.translate(page);
  if (isRefused(hit)) return hit;
  if (access.kind === "write" ? !hit.write : !hit.read) return refuse(second.denial ?? "secondPermission");
  const within = pageWithin(page, hit.shift);
  return {
    tag,
    page: page - within,
    shift: hit.shift,
    host: hit.page - within,
    hostRead: hit.read,
    hostWrite: hit.write,
    write: true,
    user: true,
    noExecute: false,
    dirty: true,
    isNested: false,
    target: second,
  };
}
