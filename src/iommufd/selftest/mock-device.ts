import { DmaGroup } from "../../iommu/dma-group.ts";
import { NO_PASID } from "../../iommu/domain.ts";
import type { SelftestDevice } from "../../iommu/selftest.ts";
import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { IommufdContext } from "../context.ts";
import { BoundDevice } from "../devices/bound-device.ts";
import { IommufdObject } from "../object-table.ts";
import type { SelftestGround } from "./ground.ts";

const NO_DRIVERS = { in: () => [] };

/**
 * A mock device of an iommufd, bound and attached as long as it is there (selftest.c:struct selftest_obj). A program
 * destroys it; what it is bound as has an id of its own.
 */
export class MockDeviceObject extends IommufdObject {
  readonly device: SelftestDevice;
  readonly #context: IommufdContext;
  readonly #ground: SelftestGround;
  readonly #group: DmaGroup;
  #bound: BoundDevice | undefined;

  /** Use create(), which completes it. */
  constructor(context: IommufdContext, ground: SelftestGround, flags: number) {
    super();
    const device = ground.iommus.makeDevice(ground.unit, flags);
    const { identity, unit } = device;
    const id = ground.takeGroup();
    if (id === undefined) {
      device.remove();
      fail("ENOSPC", "there are too many mock devices");
    }
    this.device = device;
    this.#context = context;
    this.#ground = ground;
    this.#group = new DmaGroup(
      { id, unit, kind: "iommu", reservedRegions: [], deviceNames: [identity.name] },
      NO_DRIVERS,
    );
    context.module.requesters.register(identity);
  }

  /**
   * selftest.c:iommufd_test_mock_domain. EINVAL for flags that are unknown, and what an attach refuses with.
   * @param answer tells the caller the ids
   * @param target what it is attached to
   */
  static create(
    context: IommufdContext,
    ground: SelftestGround,
    task: Task,
    { flags, target }: { readonly flags: number; readonly target: number },
    answer: (ids: { readonly device: number; readonly bound: number; readonly hwpt: number }) => void,
  ): void {
    const object = new MockDeviceObject(context, ground, flags);
    try {
      context.objects.add(object);
      const { identity, unit } = object.device;
      object.#bound = BoundDevice.create(context, identity.name, object.#group, unit, false);
      const hwpt = object.bound.change(task, target, NO_PASID, false);
      answer({ device: object.id, bound: object.bound.id, hwpt });
    } catch (error) {
      context.objects.destroy(object);
      throw error;
    }
  }

  get label(): string {
    return `mock device ${this.id}`;
  }

  /** It, as the iommufd has it. */
  get bound(): BoundDevice {
    return this.#bound!;
  }

  destroy(): void {
    this.#bound?.unbind();
    this.#context.module.requesters.unregister(this.device.identity);
    this.#ground.giveGroup(this.#group.iommuGroup.id);
    this.device.remove();
  }
}
