import { addressToPage, PAGE_SHIFT, PAGE_SIZE } from "../../address/pages.ts";
import type { DmaFault, DmaTarget, PasidRequest } from "../dma-target.ts";
import { type AccessMap, addressIn, type Met, pieceOf, walkAccess } from "../dma-walk.ts";
import { NO_PASID } from "../domain.ts";
import type { Place, Requester } from "../requester.ts";
import type { VirtualIommuGround } from "../virtual-iommu.ts";
import { type Context, findContext, readContext } from "./context.ts";
import type { SmmuDomain } from "./domain.ts";
import { describeFault, isRefused, type Refused, refuse, refuseSecond, reportEvent } from "./events.ts";
import type { SmmuFeatures } from "./registers.ts";
import { type Access, checkPermission, sideOf, walkStage1, withoutTag } from "./stage1.ts";
import { isWalkable, type StreamEntry } from "./stream-entry.ts";
import type { Translation } from "./tlb.ts";

/**
 * A request that does not arrive is made again for each such piece, as QEMU's devices do it (recorded: an event each).
 */
const FAULTING_PIECE = 4;

/** For page numbers. */
const NO_PAGE = -1;

/** How a request is made. */
interface Request extends Access {
  readonly substream: number | undefined;
}

/** A device that is attached to a guest's stream table entry (struct arm_smmu_vmaster, and its stream in the SMMU). */
export class NestedPlace implements Place {
  readonly requester: Requester;
  readonly #parent: SmmuDomain;
  readonly #entry: StreamEntry;
  readonly #features: SmmuFeatures;
  readonly #ground: VirtualIommuGround;
  /** The guest's number for the device, as it was when it was attached. */
  readonly #streamId: bigint | undefined;
  readonly #leave: (place: NestedPlace) => void;
  /** Context descriptors that the SMMU remembers of this stream, by substream. */
  readonly #contexts = new Map<number, Context>();
  #isLeft = false;

  /** @param leave is called once */
  constructor(
    requester: Requester,
    parent: SmmuDomain,
    entry: StreamEntry,
    { features, ground, streamId }: Pick<NestedPlaceGround, "features" | "ground" | "streamId">,
    leave: (place: NestedPlace) => void,
  ) {
    this.requester = requester;
    this.#parent = parent;
    this.#entry = entry;
    this.#features = features;
    this.#ground = ground;
    this.#streamId = streamId;
    this.#leave = leave;
  }

  reach({ pasid, privileged }: PasidRequest): DmaTarget {
    const substream = pasid === NO_PASID ? undefined : pasid;
    const reads = this.#requests({ write: false, privileged, substream });
    const writes = this.#requests({ write: true, privileged, substream });
    return {
      read: (address, into) => walkAccess(reads, address, into, false),
      write: (address, from) => walkAccess(writes, address, from, true),
    };
  }

  leave(): void {
    if (this.#isLeft) return;
    this.#isLeft = true;
    this.#leave(this);
  }

  /** CFGI_CD, CFGI_CD_ALL. @param substream undefined for all */
  forgetContexts(substream: number | undefined): void {
    if (substream === undefined) this.#contexts.clear();
    else this.#contexts.delete(substream);
  }

  sendMessage(doorbell: bigint, message: Uint8Array): boolean {
    const { kind } = this.#entry;
    if (kind !== "stage1") return kind === "bypass";
    const request: Request = { write: true, privileged: false, substream: undefined };
    // the kernel has the doorbell's page in the second stage, at the address that the device writes to
    const page = addressToPage(doorbell);
    const reached = this.#firstStage(request, page, Number(doorbell & 0xfffn), page);
    if (reached === "there") return true;
    this.reach({ pasid: NO_PASID, privileged: false, ats: false }).write(doorbell, message);
    return false;
  }

  #requests(request: Request): AccessMap<DmaFault> {
    return { meet: (page, within, bytes, done) => this.#meet(request, page, within, bytes, done) };
  }

  #meet(request: Request, page: number, within: number, bytes: Uint8Array, done: number): Met<DmaFault> {
    const piece = pieceOf(bytes, done, PAGE_SIZE - within);
    if (this.#entry.kind === "abort") return explained(piece.length, "the guest's stream table entry drops everything");
    const { second } = this.#parent;
    const intermediate = this.#translate(request, page, within);
    if (isRefused(intermediate)) {
      this.#report(intermediate, request, addressIn(page, within), piece.length);
      const reason = describeFault(intermediate);
      return explained(piece.length, reason);
    }
    const isMoved = request.write
      ? second.write(intermediate, within, piece)
      : second.read(intermediate, within, piece);
    return isMoved ? piece.length : explained(piece.length, "the memory that is mapped there is gone");
  }

  /** An event for each piece of what was not reached. */
  #report(refused: Refused, { substream, write, privileged }: Request, from: bigint, bytes: number): void {
    const streamId = this.#streamId;
    if (streamId === undefined) return;
    for (let at = from; at < from + BigInt(bytes); ) {
      reportEvent(this.#ground, refused, { streamId, substream, address: at, write, privileged });
      at += BigInt(pieceAt(at, Number(from + BigInt(bytes) - at)));
    }
  }

  /** The intermediate page of a byte; what is refused is refused for the rest of its page. */
  #translate(request: Request, page: number, within: number): number | Refused {
    const reached = this.#firstStage(request, page, within, NO_PAGE);
    return reached === "there" ? refuse("F_TRANSLATION") : reached;
  }

  /**
   * The intermediate page of a byte, once the second stage is known to allow the access.
   * @param around an intermediate page that is no memory of the program's, and needs no second stage
   */
  #firstStage(request: Request, page: number, within: number, around: number): number | "there" | Refused {
    const { second } = this.#parent;
    if (this.#entry.kind === "bypass") return throughSecond(second, page, within, request);
    const context = this.#context(request.substream);
    if (context === "bypass") return page === around ? "there" : throughSecond(second, page, within, request);
    if (isRefused(context)) return context;
    const result = this.#walk(context, request, page, within, around);
    if (isRefused(result) && !context.records) result.unrecorded = true;
    return result;
  }

  #walk(
    context: Context,
    request: Request,
    address: number,
    within: number,
    around: number,
  ): number | "there" | Refused {
    const { second, tlb } = this.#parent;
    const page = withoutTag(context, address);
    const side = sideOf(context, page);
    if (!side) return refuse("F_TRANSLATION");
    const cached = tlb.find(context.asid, page);
    if (cached && !(request.write && cached.canBecomeDirty))
      return throughCached(context, cached, page, within, request);
    const first = walkStage1(context, side, page, request, second);
    if (isRefused(first)) return first;
    if (first.page === around) return "there";
    const end = second.translate(first.page, within, request.write, "input");
    if (isRefused(end)) return end;
    const { mark } = first;
    const unmarked = mark && second.storeWord(mark.table, mark.index, mark.low, mark.high);
    if (unmarked) return unmarked;
    const shift = Math.min(first.shift, end.shift);
    const behind = page & ((1 << (shift - PAGE_SHIFT)) - 1);
    tlb.remember({
      asid: first.isOfAsid ? context.asid : undefined,
      page: page - behind,
      shift,
      intermediate: first.page - behind,
      secondRead: end.read,
      secondWrite: end.write,
      write: first.write,
      unprivileged: first.unprivileged,
      canBecomeDirty: first.canBecomeDirty,
    });
    return first.page;
  }

  #context(substream: number | undefined): Context | "bypass" | Refused {
    const { second } = this.#parent;
    if (!isWalkable(this.#entry, this.#features)) return refuse("C_BAD_STE");
    const chosen = findContext(this.#entry, substream, second);
    if (chosen === "bypass" || isRefused(chosen)) return chosen;
    const cached = this.#contexts.get(chosen.substream);
    if (cached) return cached;
    const context = readContext(chosen.at, second, this.#features);
    if (!isRefused(context)) this.#contexts.set(chosen.substream, context);
    return context;
  }
}

/** What a place stands on. */
export interface NestedPlaceGround {
  readonly features: SmmuFeatures;
  readonly ground: VirtualIommuGround;
  readonly streamId: bigint | undefined;
}

function throughSecond(
  second: SmmuDomain["second"],
  page: number,
  within: number,
  { write }: Request,
): number | Refused {
  const hit = second.translate(page, within, write, "input");
  return isRefused(hit) ? hit : page;
}

function throughCached(
  context: Context,
  cached: Translation,
  page: number,
  within: number,
  request: Request,
): number | Refused {
  const refused = checkPermission(context, cached, request);
  if (refused) return refused;
  const intermediate = cached.intermediate + (page - cached.page);
  if (request.write ? cached.secondWrite : cached.secondRead) return intermediate;
  return refuseSecond("F_PERMISSION", "input", addressIn(intermediate, within));
}

/** At most 4 bytes that are aligned to their number. */
function pieceAt(at: bigint, left: number): number {
  let bytes = FAULTING_PIECE;
  while (bytes > left || at % BigInt(bytes) !== 0n) bytes /= 2;
  return bytes;
}

function explained(bytes: number, reason: string): Met<DmaFault> {
  return { bytes, explain: (at) => ({ iova: at, reason, byPasidTable: true }) };
}
