import { fail } from "../../kernel/errors.ts";
import {
  IOMMU_VFIO_IOAS_CLEAR,
  IOMMU_VFIO_IOAS_GET,
  IOMMU_VFIO_IOAS_SET,
  IommuDestroy,
  IommuIoasChangeProcess,
  IommuVfioIoas,
} from "../../uapi/iommufd.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import { Ioas } from "../ioas.ts";
import type { MappedPages } from "../memory/mapped-pages.ts";
import type { PinAccount } from "../memory/pin-account.ts";
import { findIoas, refuseReserved } from "./ioas-requests.ts";

/** main.c:iommufd_destroy */
export function destroyObject(context: IommufdContext, command: Command): number {
  const { id } = IommuDestroy.read(command.view, 0);
  const object = context.objects.get(id);
  if (!object) fail("ENOENT", `there is no object with id ${id}`);
  if (object.users > 0) fail("EBUSY", `${object.label} is in use by ${object.users} others`);
  if (context.windows.isMapped(object)) fail("EBUSY", `a program maps memory of ${object.label}`);
  if (context.compatIoas === object) context.compatIoas = undefined;
  context.objects.destroy(object);
  return 0;
}

/** vfio_compat.c:iommufd_vfio_ioas */
export function vfioIoas(context: IommufdContext, command: Command): number {
  const request = IommuVfioIoas.read(command.view, 0);
  refuseReserved(request.__reserved);
  switch (request.op) {
    case IOMMU_VFIO_IOAS_GET:
      IommuVfioIoas.write(command.view, 0, { ioas_id: compatIoas(context).id });
      command.respond(IommuVfioIoas);
      return 0;
    case IOMMU_VFIO_IOAS_SET:
      context.compatIoas = findIoas(context, request.ioas_id);
      return 0;
    case IOMMU_VFIO_IOAS_CLEAR:
      context.compatIoas = undefined;
      return 0;
    default:
      fail("EOPNOTSUPP", `unknown operation ${request.op} (0 GET, 1 SET, 2 CLEAR)`);
  }
}

/** The address space that VFIO's requests mean. ENODEV. */
export function compatIoas(context: IommufdContext): Ioas {
  return (
    context.compatIoas ??
    fail("ENODEV", "no address space stands for VFIO's container: a group makes one, or IOMMU_VFIO_IOAS sets it")
  );
}

/** ioas.c:iommufd_ioas_change_process: all pinned memory of the iommufd counts as the caller's from now on. */
export function changeProcess(context: IommufdContext, command: Command): number {
  refuseReserved(IommuIoasChangeProcess.read(command.view, 0).__reserved);
  const moving = new Set<MappedPages>();
  for (const object of context.objects) {
    if (!(object instanceof Ioas)) continue;
    for (const area of object.table.areas) {
      if (area.kind !== "file") {
        fail("EINVAL", `${area.label} of ${object.label} is of a process's memory; only files can change hands`);
      }
      moving.add(area.pages);
    }
  }
  const charged: { readonly account: PinAccount; readonly pages: number }[] = [];
  try {
    for (const { account, pinned } of moving) {
      const next = account.movedTo(command.task);
      next.charge(pinned);
      charged.push({ account: next, pages: pinned });
    }
  } catch (error) {
    for (const { account, pages } of charged) account.uncharge(pages);
    throw error;
  }
  let index = 0;
  for (const pages of moving) {
    pages.account.uncharge(pages.pinned);
    pages.account = charged[index++]!.account;
  }
  return 0;
}
