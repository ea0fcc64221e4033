import { PAGE_SIZE } from "../../address/pages.ts";
import type { Descriptor } from "../../uapi/intel-invalidation.ts";
import { type AccessMap, addressIn, pieceOf, walkAccess } from "../dma-walk.ts";
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
import { NO_DOMAIN, type Tag, TranslationCache } from "./iotlb.ts";
import { PasidCache } from "./pasid-cache.ts";
import type { PasidEntry } from "./pasid-entry.ts";
import { findEntry } from "./pasid-table.ts";
import { loadThrough, type SecondLevel, SecondLevelTable, storeThrough } from "./second-level.ts";
import type { TableMemory } from "./table-memory.ts";
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

/** A page that a request may use now. */
interface Reached {
  readonly target: SecondLevel;
  /** Host physical address of the byte. */
  readonly address: bigint;
}

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
  readonly #guestLimit: bigint;
  #nextLevel = 0;

  constructor(options: VtdUnitOptions = {}) {
    const { capacity = 1024, seed = 1, guestAddressBits = 52 } = options;
    this.#victims = new VictimChooser(seed);
    this.#capacity = capacity;
    this.#guestLimit = 1n << BigInt(guestAddressBits);
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
    const kind = options.execute ? "execute" : "read";
    return walkAccess(this.#request(source, pasid, kind, options), address, into, false);
  }

  /** A device writes. What it cannot reach is dropped. */
  write(source: number, pasid: number, address: bigint, bytes: Uint8Array, options: RequestOptions = {}) {
    return walkAccess(this.#request(source, pasid, "write", options), address, bytes, true);
  }

  /** A request that reaches no table of the device's: it is recorded as one that found nothing there. */
  reject(source: number, pasid: number, address: bigint, kind: Access["kind"], privileged: boolean): RequestFault {
    const reason = this.#contexts.has(source) ? "entryNotPresent" : "noContext";
    this.faults.record(source, pasid, address, { kind, privileged }, reason, false);
    return { address, reason, canAsk: false };
  }

  /**
   * A device's requests of one kind: each page of a transfer is one, which is translated and, when it faults, recorded.
   */
  #request(source: number, pasid: number, kind: Access["kind"], options: RequestOptions): AccessMap<RequestFault> {
    const access: Access = { kind, privileged: options.privileged ?? false };
    return {
      meet: (page, within, bytes, done, write) => {
        const at = addressIn(page, within);
        const piece = pieceOf(bytes, done, PAGE_SIZE - within);
        const reached = this.#reach(source, pasid, at, access, options.ats ?? false);
        const refusal = isRefused(reached) ? reached.refused : undefined;
        if (!isRefused(reached)) {
          const { target, address } = reached;
          if (write ? target.write(address, piece) : target.read(address, piece)) return piece.length;
        }
        const reason = refusal ?? "secondPermission";
        const pageRequests = this.#contexts.get(source)?.pageRequests ?? false;
        this.faults.record(source, pasid, at, access, reason, pageRequests);
        const canAsk = pageRequests && (options.waits ?? false) && isRecoverable(reason);
        return { bytes: piece.length, ends: canAsk, explain: (address) => ({ address, reason, canAsk }) };
      },
    };
  }

  #reach(source: number, pasid: number, address: bigint, access: Access, ats: boolean): Reached | Refused {
    const context = this.#contexts.get(source);
    if (!context) return refuse("noContext");
    const own = ats ? context.deviceTlb : undefined;
    if (!own) return this.#translate(source, context, pasid, address, access);
    const tag: Tag = { domain: NO_DOMAIN, pasid };
    const cached = own.find(tag, address);
    if (cached && allowed(cached, undefined, access)) return reachedIn(cached, address);
    const found = this.#translate(source, context, pasid, address, access);
    if (!isRefused(found)) own.remember({ ...found.translation, tag });
    return found;
  }

  #translate(
    source: number,
    context: DeviceContext,
    pasid: number,
    address: bigint,
    access: Access,
  ): (Reached & { readonly translation: CachedTranslation }) | Refused {
    const entry = this.#entry(source, context, pasid);
    if (isRefused(entry)) return entry;
    if (entry.firstLevel && access.privileged && !entry.supervisor) return refuse("supervisorDisabled");
    if (access.kind === "execute" && !entry.execute) return refuse("executeDisabled");
    const tag: Tag = { domain: entry.domain, pasid };
    const cached = this.iotlb.find(tag, address);
    if (cached && allowed(cached, entry.firstLevel, access)) {
      return { ...reachedIn(cached, address), translation: cached };
    }
    const walked = this.#walk(entry, tag, address, access);
    if (isRefused(walked)) return walked;
    this.iotlb.remember(walked);
    return { ...reachedIn(walked, address), translation: walked };
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

  #walk(entry: PasidEntry, tag: Tag, address: bigint, access: Access): CachedTranslation | Refused {
    const { firstLevel } = entry;
    const second = this.#secondLevel(entry);
    if (!firstLevel) return translateSecond(second, tag, address, access);
    const tables: TableMemory = {
      load: (at) => loadThrough(second, at),
      store: (at, value) => storeThrough(second, at, value),
    };
    const cache = this.structures.under(tag);
    const first = walkFirstLevel(firstLevel, tables, address, access, this.#guestLimit, cache);
    if (isRefused(first)) return first;
    const end = translateSecond(second, tag, first.address, access);
    if (isRefused(end)) return end;
    const isWrite = access.kind === "write";
    const unmarked = isWrite ? markDirty(first, tables) : undefined;
    if (unmarked) return unmarked;
    // the page is as large as the smaller of the two
    const shift = Math.min(first.shift, end.shift);
    const within = address & ((1n << BigInt(shift)) - 1n);
    return {
      ...end,
      shift,
      page: address - within,
      host: end.host + (first.address - end.page) - within,
      write: first.write,
      user: first.user,
      noExecute: first.noExecute,
      dirty: first.dirty || isWrite,
      isNested: true,
    };
  }

  #secondLevel(entry: PasidEntry): SecondLevel {
    if (entry.type === "first") return this.#identity;
    return this.#levels.get(entry.secondLevel) ?? new SecondLevelTable(this.memory, entry.secondLevel, 4);
  }
}

type CachedTranslation = Parameters<TranslationCache["remember"]>[0];

function reachedIn(found: CachedTranslation, address: bigint): Reached {
  return { target: found.target, address: found.host + (address - found.page) };
}

/**
 * Whether a cached translation may serve the access. If not, the tables are asked: a permission may have been added.
 */
function allowed(found: CachedTranslation, table: FirstLevelTable | undefined, access: Access): boolean {
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

function translateSecond(second: SecondLevel, tag: Tag, address: bigint, access: Access): CachedTranslation | Refused {
  const hit = second.translate(address);
  if (isRefused(hit)) return hit;
  if (access.kind === "write" ? !hit.write : !hit.read) return refuse(second.denial ?? "secondPermission");
  const within = address & ((1n << BigInt(hit.shift)) - 1n);
  return {
    tag,
    page: address - within,
    shift: hit.shift,
    host: hit.address - within,
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
