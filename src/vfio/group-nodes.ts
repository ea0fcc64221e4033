import { fail } from "../kernel/errors.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import { CAP_DAC_OVERRIDE, CAP_SYS_RAWIO, type Task } from "../kernel/task.ts";
import type { VfioGroup } from "./group.ts";
import { GroupFile } from "./group-file.ts";
import type { HostGround, HostPart } from "./host-part.ts";
import type { LiveSpace, SpaceListener } from "./space-view.ts";

const PATH = /^\/dev\/vfio\/(noiommu-)?(\d+)$/;

/**
 * /dev/vfio/N and /dev/vfio/noiommu-N: the groups that VFIO drivers have devices of
 * (drivers/vfio/group.c:vfio_group_fops_open).
 */
export class GroupNodes implements HostPart {
  readonly #ground: HostGround;

  constructor(ground: HostGround) {
    this.#ground = ground;
  }

  open(task: Task, path: string): FileDescription | undefined {
    const group = this.#groupAt(path);
    if (!group) return undefined;
    if (task.euid !== 0 && !task.capable(CAP_DAC_OVERRIDE)) fail("EACCES", `${path} has mode 0600 and is root's`);
    if (group.iommuGroup.kind === "noiommu" && !task.capable(CAP_SYS_RAWIO)) {
      fail("EPERM", `${group.label} has no IOMMU: its devices reach all memory, which takes CAP_SYS_RAWIO`);
    }
    if (group.use.by === "nodes") fail("EBUSY", `devices of ${group.label} are open through their own nodes`);
    if (group.holder) {
      fail(
        "EBUSY",
        `${group.label} is open already, by ${group.describeHolder()}, itself or through a device file: one user at a time`,
      );
    }
    return new GroupFile(group, this.#ground.context.release, { name: task.name, pid: task.pid });
  }

  hasNode(path: string): boolean {
    return this.#groupAt(path) !== undefined;
  }

  /** Those of containers, which their groups lead to. */
  spaces(): LiveSpace[] {
    const containers = [...this.#ground.vfio.groups()].flatMap(({ container }) => container ?? []);
    return [...new Set(containers)].flatMap((container) => {
      const { backend, opener, groups } = container;
      if (!backend?.space || backend.name === "noiommu") return [];
      const { valid, taken } = backend.space;
      const view = {
        kind: backend.name,
        label: container.label,
        owner: `process ${opener.name}, pid ${opener.pid}`,
        valid,
        taken,
        devices: groups.flatMap(({ iommuGroup }) => iommuGroup.deviceNames),
        from: (address: bigint, most: number) => backend.space!.from(address, most),
        watch: (listener: SpaceListener) => backend.space!.watch(listener),
        isMeant: (file: FileDescription) => file === container,
      };
      return [{ of: container, view }];
    });
  }

  #groupAt(path: string): VfioGroup | undefined {
    const match = PATH.exec(path);
    const group = match ? this.#ground.vfio.group(Number(match[2])) : undefined;
    return group && (match![1] !== undefined) === (group.iommuGroup.kind === "noiommu") ? group : undefined;
  }
}
