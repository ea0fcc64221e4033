import { fail } from "../../kernel/errors.ts";
import { CAP_SYS_RESOURCE } from "../../kernel/task.ts";
import {
  IOMMU_OPTION_HUGE_PAGES,
  IOMMU_OPTION_OP_GET,
  IOMMU_OPTION_OP_SET,
  IOMMU_OPTION_RLIMIT_MODE,
  IommuOption,
} from "../../uapi/iommufd.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import type { IoPageTable } from "../memory/io-page-table.ts";
import { findIoas, refuseReserved } from "./ioas-requests.ts";

/** main.c:iommufd_option. The value goes back after a SET too. */
export function option(context: IommufdContext, command: Command): number {
  const request = IommuOption.read(command.view, 0);
  refuseReserved(request.__reserved);
  const { op, val64 } = request;
  switch (request.option_id) {
    case IOMMU_OPTION_RLIMIT_MODE:
      if (request.object_id) fail("EOPNOTSUPP", "the limit's mode is the whole iommufd's: object_id must be 0");
      if (op === IOMMU_OPTION_OP_SET) setAccountMode(context, command, val64);
      return reply(command, op, context.accountMode === "process");
    case IOMMU_OPTION_HUGE_PAGES: {
      const { table } = findIoas(context, request.object_id);
      if (op === IOMMU_OPTION_OP_SET) setHugePages(table, val64);
      return reply(command, op, !table.largePagesDisabled);
    }
    default:
      fail("EOPNOTSUPP", `unknown option ${request.option_id} (0 RLIMIT_MODE, 1 HUGE_PAGES)`);
  }
}

/** After a SET the value is what it was set to. */
function reply(command: Command, op: number, value: boolean): number {
  if (op !== IOMMU_OPTION_OP_SET && op !== IOMMU_OPTION_OP_GET) {
    fail("EOPNOTSUPP", `unknown operation ${op} (0 SET, 1 GET)`);
  }
  IommuOption.write(command.view, 0, { val64: value ? 1n : 0n });
  command.respondField(IommuOption.offsets.val64, 8);
  return 0;
}

/** ioas.c:iommufd_option_rlimit_mode */
function setAccountMode(context: IommufdContext, command: Command, value: bigint): void {
  if (!command.task.capable(CAP_SYS_RESOURCE))
    fail("EPERM", "which limit counts is changed with CAP_SYS_RESOURCE only");
  if (!context.objects.isEmpty) fail("EBUSY", "which limit counts is set before the first object is made");
  if (value > 1n) fail("EINVAL", `mode ${value} is unknown (0 the user's limit, 1 the process's)`);
  context.accountMode = value === 1n ? "process" : "user";
}

/** ioas.c:iommufd_ioas_option_huge_pages */
function setHugePages(table: IoPageTable, value: bigint): void {
  if (value > 1n) fail("EINVAL", `value ${value} is unknown (0 never, 1 when possible)`);
  if (value === 0n) table.disableLargePages();
  else table.enableLargePages();
}
