import { fail } from "../../kernel/errors.ts";
import { CAP_SYS_RAWIO } from "../../kernel/task.ts";
import type { GroupIommufd } from "../../vfio/iommufd.ts";
import type { IommufdContext } from "../context.ts";
import { Ioas } from "../ioas.ts";
import { compatIoas } from "../requests/object-requests.ts";
import { bindDevice } from "./bind-device.ts";
import { forVfio } from "./binding.ts";

/** An iommufd in the place of a container (drivers/vfio/group.c, vfio_compat.c). */
export function forGroups(context: IommufdContext): GroupIommufd {
  const knowsNoIommu = context.module.context.release.has("noIommuInIommufd");
  return {
    owner: context,
    take: (group) => {
      if (group.kind === "noiommu" && knowsNoIommu) takeWithoutIommu(context);
      else makeCompatIoas(context);
      context.get();
    },
    letGo: () => context.put(),
    openDevice: (task, group, device) => {
      if (group.iommuGroup.kind === "noiommu") {
        if (!knowsNoIommu) fail("EINVAL", `${device} has no IOMMU, and an iommufd takes such devices since Linux 6.3`);
        if (!task.capable(CAP_SYS_RAWIO) || context.compatIoas) {
          fail(
            "EPERM",
            `${device} has no IOMMU: it takes CAP_SYS_RAWIO, and an iommufd without an address space for VFIO`,
          );
        }
        return undefined;
      }
      const bound = bindDevice(context, device, group);
      try {
        bound.attach(task, compatIoas(context).id);
      } catch (error) {
        bound.unbind();
        throw error;
      }
      return forVfio(bound);
    },
  };
}

/** vfio_compat.c:iommufd_vfio_compat_set_no_iommu */
function takeWithoutIommu(context: IommufdContext): void {
  if (context.compatIoas)
    fail("EINVAL", "a group without IOMMU cannot join: this iommufd has an address space for VFIO");
  context.noIommu = true;
}

/** vfio_compat.c:iommufd_vfio_compat_ioas_create: the first group makes the address space that VFIO's requests mean. */
function makeCompatIoas(context: IommufdContext): void {
  if (context.noIommu) fail("EINVAL", "a group with IOMMU cannot join: one without is in this iommufd");
  if (context.compatIoas) return;
  const ioas = new Ioas(context.pageSize);
  context.objects.add(ioas);
  context.compatIoas = ioas;
}
