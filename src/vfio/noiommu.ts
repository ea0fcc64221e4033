import { fail, hex } from "../kernel/errors.ts";
import { CAP_SYS_RAWIO, type Task } from "../kernel/task.ts";
import type { Word } from "../kernel/word.ts";
import { TYPE1_DIALECT } from "../uapi/requests/dialects.ts";
import { VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU } from "../uapi/vfio.ts";
import type { IommuBackend, IommuDriver } from "./backend.ts";
import type { ModelContext } from "./model-context.ts";

/** The module parameter that turns it on. */
export const NOIOMMU_PARAMETER = "vfio/enable_unsafe_noiommu_mode";

/** VFIO without an IOMMU (container.c: vfio_noiommu_ops): devices can be opened, nothing can be mapped. */
export class NoIommuDriver implements IommuDriver {
  readonly forNoIommu = true;
  readonly dialect = TYPE1_DIALECT;
  readonly #context: ModelContext;

  constructor(context: ModelContext) {
    this.#context = context;
  }

  checkExtension(extension: Word): number {
    return extension === VFIO_NOIOMMU_IOMMU && this.#context.booleanParameter(NOIOMMU_PARAMETER) ? 1 : 0;
  }

  open(task: Task, type: Word): IommuBackend {
    if (type !== VFIO_NOIOMMU_IOMMU) fail("EINVAL", `type ${type} needs an IOMMU, the container's groups have none`);
    if (!task.capable(CAP_SYS_RAWIO)) fail("EPERM", "a container without IOMMU takes CAP_SYS_RAWIO");
    return {
      name: "noiommu",
      dialect: this.dialect,
      attach: () => {},
      detach: () => {},
      release: () => {},
      reach: () => undefined,
      mediated: undefined,
      space: undefined,
      checkExtension: (extension) => this.checkExtension(extension),
      ioctl: (_task, request, arg) => {
        if (request === VFIO_CHECK_EXTENSION) return this.checkExtension(arg);
        fail("ENOTTY", `a container without IOMMU knows no request ${hex(request)}: there is nothing to map`);
      },
    };
  }
}
