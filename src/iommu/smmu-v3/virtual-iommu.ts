import { fail } from "../../kernel/errors.ts";
import {
  IOMMU_HWPT_DATA_ARM_SMMUV3,
  IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3,
  IommuHwptArmSmmuv3,
  IommuViommuArmSmmuv3Invalidate,
} from "../../uapi/iommufd-hwpt.ts";
import { IOMMU_VIOMMU_TYPE_ARM_SMMUV3 } from "../../uapi/iommufd-viommu.ts";
import { type IntendedAttach, type IommuDomain, NO_PASID, type UserFormat, type UserTable } from "../domain.ts";
import type { RequesterIdentity } from "../requester.ts";
import { readUserArray, readUserData, type UserData, type UserDataArray } from "../user-data.ts";
import type { VirtualIommu, VirtualIommuGround, VirtualIommuKind } from "../virtual-iommu.ts";
import { type Command, convertCommand } from "./commands.ts";
import { SmmuDomain } from "./domain.ts";
import { NestedDomain, SmmuIommus } from "./iommus.ts";
import { parseStreamEntry, type StreamEntry } from "./stream-entry.ts";

/**
 * Commands that the kernel's driver gives to the SMMU at once: CMDQ_BATCH_ENTRIES without the one that waits for them.
 */
const BATCH = 63;

const STREAM_ENTRIES: UserFormat<StreamEntry> = {
  type: IOMMU_HWPT_DATA_ARM_SMMUV3,
  name: IommuHwptArmSmmuv3.name,
  size: IommuHwptArmSmmuv3.size,
  // little-endian, whatever the machine is
  decode: (bytes) => {
    const [first = 0n, second = 0n] = IommuHwptArmSmmuv3.decode(bytes).ste;
    return parseStreamEntry([first, second]);
  },
};

const COMMANDS: UserFormat<readonly [bigint, bigint]> = {
  type: IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3,
  name: IommuViommuArmSmmuv3Invalidate.name,
  size: IommuViommuArmSmmuv3Invalidate.size,
  decode: (bytes) => {
    const [first = 0n, second = 0n] = IommuViommuArmSmmuv3Invalidate.decode(bytes).cmd;
    return [first, second];
  },
};

/** A guest's stream table entry, before it is attached to anything. */
class SmmuUserTable implements UserTable {
  readonly #entry: StreamEntry;
  readonly #ground: VirtualIommuGround;
  readonly #iommus: SmmuIommus;

  constructor(entry: StreamEntry, ground: VirtualIommuGround, iommus: SmmuIommus) {
    this.#entry = entry;
    this.#ground = ground;
    this.#iommus = iommus;
  }

  /** arm_smmu_attach_prepare_vmaster: events of stage 1 need a number to name the device by. */
  check({ devices, pasid }: IntendedAttach): void {
    if (this.#entry.kind !== "stage1" || pasid !== NO_PASID) return;
    for (const device of devices) {
      if (this.#ground.numberOf(device) !== undefined) continue;
      fail("ENOENT", `${device.name} has no number in this virtual SMMU (IOMMU_VDEVICE_ALLOC), which stage 1 needs`);
    }
  }

  nestedOn(parent: IommuDomain): IommuDomain {
    if (!(parent instanceof SmmuDomain)) throw new Error("a stream table entry is nested on an SMMU's domains");
    return new NestedDomain(this.#iommus, parent, this.#entry, this.#ground);
  }
}

/** A share of an SMMU (struct arm_vsmmu). */
class VirtualSmmu implements VirtualIommu {
  readonly #ground: VirtualIommuGround;
  readonly #iommus: SmmuIommus;

  constructor(ground: VirtualIommuGround, iommus: SmmuIommus) {
    this.#ground = ground;
    this.#iommus = iommus;
  }

  /** arm_vsmmu_alloc_domain_nested */
  nest(flags: number, data: UserData): UserTable {
    if (flags) fail("EOPNOTSUPP", "a guest's stream table entry knows no flag but the one for a fault queue");
    return new SmmuUserTable(readUserData(data, STREAM_ENTRIES), this.#ground, this.#iommus);
  }

  /**
   * arm_vsmmu_cache_invalidate. Commands are looked at one after the other and given to the SMMU in batches. One that
   * is refused ends it, and those of the batch that it is in are not given; the caller hears that they were done.
   */
  *invalidate(array: UserDataArray, done: { entries: number }): Generator<void, void> {
    const list = yield* readUserArray(array, COMMANDS, done);
    const { ranges } = this.#iommus.features;
    let batch: Command[] = [];
    for (const words of list) {
      try {
        batch.push(convertCommand(words, this.#ground, ranges));
      } catch (error) {
        if (batch.length > 0) this.#warnOfLost(batch.length);
        throw error;
      }
      done.entries++;
      if (batch.length < BATCH && done.entries < list.length) continue;
      for (const command of batch) this.#carryOut(command);
      batch = [];
      yield;
    }
  }

  /** vdevice_init of the driver: a device that makes requests under several stream ids has no one number. */
  accept(device: RequesterIdentity): void {
    if (!device.hasAlias) return;
    fail("EOPNOTSUPP", `${device.name} has more than one stream id: it is behind a bridge to conventional PCI`);
  }

  release(): void {}

  #carryOut(command: Command): void {
    if (command.kind === "device") return;
    if (command.kind === "contexts") {
      this.#iommus.nestedPlace(command.device)?.forgetContexts(command.substream);
      return;
    }
    const parent = this.#ground.parentDomain;
    if (!(parent instanceof SmmuDomain)) throw new Error("a virtual SMMU's parent is an SMMU's domain");
    const { tlb } = parent;
    if (command.kind === "all") tlb.clear();
    else if (command.kind === "asid") tlb.clearAsid(command.asid);
    else tlb.clearRange(command.asid, command.range);
  }

  #warnOfLost(commands: number): void {
    const they = commands === 1 ? "the command" : `the ${commands} commands`;
    this.#ground.warn(
      `HWPT_INVALIDATE: ${they} before a bad one counted as done and had no effect, as the kernel has it (arm_vsmmu_cache_invalidate gives them in batches of ${BATCH})`,
    );
  }
}

/** arm_vsmmu_init. What a caller hands in is not looked at. */
export const SMMU_VIRTUAL_IOMMU: VirtualIommuKind = {
  type: IOMMU_VIOMMU_TYPE_ARM_SMMUV3,
  make: (ground, _data, iommus) => {
    if (!(iommus instanceof SmmuIommus)) throw new Error("a virtual SMMU is of SMMUs");
    return new VirtualSmmu(ground, iommus);
  },
};
