import { fail } from "../../kernel/errors.ts";
import { IOMMU_HWPT_ALLOC_PASID } from "../../uapi/iommufd-hwpt.ts";
import {
  IOMMU_HW_QUEUE_TYPE_SELFTEST,
  IOMMU_HWPT_DATA_SELFTEST,
  IOMMU_TEST_HW_QUEUE_MAX,
  IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST,
  IOMMU_VIOMMU_TYPE_SELFTEST,
  IommuViommuInvalidateSelftest,
  IommuViommuSelftest,
  MOCK_DEV_CACHE_NUM,
} from "../../uapi/iommufd-test.ts";
import type { UserFormat, UserTable } from "../domain.ts";
import { readUserArray, readUserData, type UserData, type UserDataArray, writeUserData } from "../user-data.ts";
import type {
  HardwareQueue,
  MappedWindow,
  VirtualIommu,
  VirtualIommuGround,
  VirtualIommuKind,
} from "../virtual-iommu.ts";
import { MockIommus } from "./iommus.ts";
import { checkSelection, MOCK_INVALIDATIONS, mockTables } from "./nested-table.ts";

type Invalidation = ReturnType<typeof IommuViommuInvalidateSelftest.decode>;
type Handover = ReturnType<typeof IommuViommuSelftest.decode>;

const HANDOVER: UserFormat<Handover> = {
  type: IOMMU_VIOMMU_TYPE_SELFTEST,
  name: IommuViommuSelftest.name,
  size: IommuViommuSelftest.size,
  minimum: IommuViommuSelftest.endOf("out_data"),
  decode: (bytes, littleEndian) => IommuViommuSelftest.decode(bytes, littleEndian),
};

const INVALIDATION: UserFormat<Invalidation> = {
  type: IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST,
  name: IommuViommuInvalidateSelftest.name,
  size: IommuViommuInvalidateSelftest.size,
  decode: (bytes, littleEndian) => IommuViommuInvalidateSelftest.decode(bytes, littleEndian),
};

/** selftest.c:struct mock_viommu, mock_viommu_ops */
class MockVirtualIommu implements VirtualIommu {
  readonly tableInvalidations = MOCK_INVALIDATIONS;
  readonly queues = { type: IOMMU_HW_QUEUE_TYPE_SELFTEST, add: (queue: HardwareQueue) => this.#addQueue(queue) };
  readonly #ground: VirtualIommuGround;
  readonly #iommus: MockIommus;
  readonly #window: MappedWindow | undefined;
  readonly #queues: (HardwareQueue | undefined)[] = [];

  constructor(ground: VirtualIommuGround, iommus: MockIommus, window: MappedWindow | undefined) {
    this.#ground = ground;
    this.#iommus = iommus;
    this.#window = window;
  }

  nest(flags: number, data: UserData): UserTable {
    if (flags & ~IOMMU_HWPT_ALLOC_PASID) fail("EOPNOTSUPP", "a nested page table knows the flag for PASIDs only");
    if (data.type !== IOMMU_HWPT_DATA_SELFTEST) fail("EOPNOTSUPP", `data_type ${data.type} describes no table of it`);
    return readUserData(data, mockTables(this.#ground));
  }

  /** selftest.c:mock_viommu_cache_invalidate. What is before a bad entry is done. */
  *invalidate(array: UserDataArray, done: { entries: number }): Generator<void, void> {
    if (array.entries === 0 && array.type === INVALIDATION.type) return;
    const list = yield* readUserArray(array, INVALIDATION, done);
    for (const [index, { flags, vdev_id, cache_id }] of list.entries()) {
      const what = `entry ${index}`;
      const device = this.#deviceAt(BigInt(vdev_id));
      const entries = device?.cache.length ?? MOCK_DEV_CACHE_NUM;
      const isAll = checkSelection(flags, cache_id, entries, what);
      if (!device) fail("EINVAL", `${what}: no device has the number ${vdev_id} in this virtual IOMMU`);
      if (isAll) device.cache.fill(0);
      else device.cache[cache_id] = 0;
      done.entries++;
    }
  }

  #deviceAt(number: bigint) {
    const identity = this.#ground.deviceAt(number);
    return identity && this.#iommus.find(identity);
  }

  /** selftest.c:mock_hw_queue_init_phys. A queue depends on the one before it. */
  #addQueue(queue: HardwareQueue): () => void {
    const { index } = queue;
    if (index >= IOMMU_TEST_HW_QUEUE_MAX) fail("EINVAL", `there are queues 0 to ${IOMMU_TEST_HW_QUEUE_MAX - 1}`);
    if (this.#queues[index]) fail("EEXIST", `there is a queue ${index} already`);
    const before = index > 0 ? this.#queues[index - 1] : undefined;
    if (index > 0 && !before) fail("EIO", `queue ${index} comes after queue ${index - 1}, which is not there`);
    if (before) before.object.users++;
    this.#queues[index] = queue;
    return () => {
      this.#queues[index] = undefined;
      if (before) before.object.users--;
    };
  }

  release(): void {
    this.#window?.release();
  }
}

/** selftest.c:mock_viommu_init */
export const MOCK_VIRTUAL_IOMMU: VirtualIommuKind = {
  type: IOMMU_VIOMMU_TYPE_SELFTEST,
  make: (ground, data, iommus) => {
    if (!(iommus instanceof MockIommus)) throw new Error("a mock virtual IOMMU is of mock IOMMUs");
    return new MockVirtualIommu(ground, iommus, data && handOver(ground, data));
  },
};

/** Memory to map that begins with what the caller has handed in; it hears where that is. */
function handOver(ground: VirtualIommuGround, data: UserData): MappedWindow {
  const { in_data } = readUserData(data, HANDOVER);
  const window = ground.shareMemory(2 * ground.pageSize);
  try {
    const { littleEndian } = ground;
    window.write(0, IommuViommuSelftest.encode({ in_data }, 0, littleEndian).subarray(0, 4));
    const reply = {
      in_data,
      out_data: in_data,
      out_mmap_offset: BigInt(window.offset),
      out_mmap_length: BigInt(window.length),
    };
    writeUserData(data, IommuViommuSelftest.encode(reply, 0, littleEndian));
    return window;
  } catch (error) {
    window.release();
    throw error;
  }
}
