import type { Eeh } from "../../iommu/tce/eeh.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import * as uapi from "../../uapi/vfio-spapr.ts";
import { UserStruct } from "../user-struct.ts";
import type { TceContainer } from "./tce-container.ts";

const { VfioEehPeErr, VfioEehPeOp } = uapi;
const MINIMUM = VfioEehPeOp.endOf("op");
const WITH_ERROR = VfioEehPeOp.endOf("err");
const AT = VfioEehPeOp.offsets;

const user = new UserStruct(VfioEehPeOp.size);

/** VFIO_EEH_PE_OP: asks each group, the newest first, and stops at the first answer that is not 0. */
export function eehPeOp(container: TceContainer, task: Task, arg: Word): number {
  for (const { endpoint, group } of container.groups) {
    const { eeh } = endpoint;
    if (eeh === undefined) fail("ENODEV", `${group.label} has no error handling (EEH) on this platform`);
    const answer = operate(eeh, task, arg);
    if (answer !== 0) return answer;
  }
  return 0;
}

/** vfio_iommu_spapr_tce.c:vfio_spapr_ioctl_eeh_pe_op */
function operate(eeh: Eeh, task: Task, arg: Word): number {
  user.copyInSized(task, arg, MINIMUM, "vfio_eeh_pe_op");
  const flags = user.u32(AT.flags);
  if (flags !== 0) fail("EINVAL", `flags are ${hex(flags)}, must be 0`);
  const operation = user.u32(AT.op);
  switch (operation) {
    case uapi.VFIO_EEH_PE_DISABLE:
    case uapi.VFIO_EEH_PE_ENABLE:
    case uapi.VFIO_EEH_PE_UNFREEZE_IO:
    case uapi.VFIO_EEH_PE_UNFREEZE_DMA:
    case uapi.VFIO_EEH_PE_RESET_DEACTIVATE:
    case uapi.VFIO_EEH_PE_RESET_HOT:
    case uapi.VFIO_EEH_PE_CONFIGURE:
      return eeh.accept();
    case uapi.VFIO_EEH_PE_GET_STATE:
      return eeh.state();
    case uapi.VFIO_EEH_PE_RESET_FUNDAMENTAL:
      return eeh.fundamentalReset();
    case uapi.VFIO_EEH_PE_INJECT_ERR: {
      if (user.u32(0) < WITH_ERROR)
        fail("EINVAL", `argsz of struct vfio_eeh_pe_op is ${user.u32(0)}, an injection needs ${WITH_ERROR}`);
      user.copyIn(task, arg, WITH_ERROR);
      return eeh.inject(user.u32(AT.err + VfioEehPeErr.offsets.type), user.u32(AT.err + VfioEehPeErr.offsets.func));
    }
    default:
      fail("EINVAL", `EEH knows no operation ${operation} (there are 0..9)`);
  }
}
