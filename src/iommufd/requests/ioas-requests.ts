import { fail, hex } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import type { RequestSteps } from "../../kernel/request-steps.ts";
import { wordFromBigInt } from "../../kernel/word.ts";
import { IommuIoasAlloc, IommuIoasAllowIovas, IommuIoasIovaRanges, IommuIovaRange } from "../../uapi/iommufd.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import { Ioas } from "../ioas.ts";
import type { IoPageTable } from "../memory/io-page-table.ts";
import { readRanges } from "./user-ranges.ts";

/** ioas.c:iommufd_ioas_alloc_ioctl */
export function ioasAlloc(context: IommufdContext, command: Command): number {
  const { flags } = IommuIoasAlloc.read(command.view, 0);
  if (flags) fail("EOPNOTSUPP", `unknown flag bits ${hex(flags)}`);
  const ioas = new Ioas(context.pageSize);
  context.objects.add(ioas);
  try {
    IommuIoasAlloc.write(command.view, 0, { out_ioas_id: ioas.id });
    command.respond(IommuIoasAlloc);
  } catch (error) {
    context.objects.destroy(ioas);
    throw error;
  }
  return 0;
}

/** ioas.c:iommufd_ioas_iova_ranges. Ranges are written as far as there is room, and the structure after them. */
export function iovaRanges(context: IommufdContext, command: Command): number {
  const request = IommuIoasIovaRanges.read(command.view, 0);
  refuseReserved(request.__reserved);
  const { table } = findIoas(context, request.ioas_id);
  const ranges = table.usableRanges();
  const { memory } = command.task;
  for (const [i, range] of ranges.slice(0, request.num_iovas).entries()) {
    const address = wordFromBigInt(request.allowed_iovas + BigInt(i * IommuIovaRange.size));
    memory.copyOut(address, IommuIovaRange.encode(range, 0, memory.littleEndian), IommuIovaRange.size);
  }
  IommuIoasIovaRanges.write(command.view, 0, { num_iovas: ranges.length, out_iova_alignment: table.alignment });
  command.respond(IommuIoasIovaRanges);
  if (ranges.length > request.num_iovas) {
    fail("EMSGSIZE", `there are more ranges (${ranges.length}) than num_iovas has room for (${request.num_iovas})`);
  }
  return 0;
}

/** ioas.c:iommufd_ioas_allow_iovas. In steps: until the last one nothing has changed. */
export function allowIovas(context: IommufdContext, command: Command): RequestSteps {
  const { __reserved, ioas_id, num_iovas, allowed_iovas } = IommuIoasAllowIovas.read(command.view, 0);
  refuseReserved(__reserved);
  const { table } = findIoas(context, ioas_id);
  faultPoint("failslab");
  return allow(table, readRanges(command.task, allowed_iovas, num_iovas));
}

function* allow(table: IoPageTable, ranges: ReturnType<typeof readRanges>): RequestSteps {
  table.allow(yield* ranges);
  return 0;
}

/** An address space by its id. ENOENT. */
export function findIoas(context: IommufdContext, id: number): Ioas {
  return context.objects.find(id, Ioas, "ioas");
}

/** Fields that mean nothing yet must be zero. */
export function refuseReserved(value: number): void {
  if (value !== 0) fail("EOPNOTSUPP", `the field __reserved is ${hex(value)} and must be 0`);
}
