import { NO_PASID } from "../../iommu/domain.ts";
import type { SelftestDevice } from "../../iommu/selftest.ts";
import { fail } from "../../kernel/errors.ts";
import { IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, IommuTestCmd } from "../../uapi/iommufd-test.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import { BoundDevice } from "../devices/bound-device.ts";
import { PageTable } from "../devices/page-table.ts";
import { NestedHwpt } from "../nesting/nested-hwpt.ts";
import type { SelftestGround } from "./ground.ts";
import { MockDeviceObject } from "./mock-device.ts";

/** selftest.c:iommufd_test_mock_domain: a device comes, and is attached to what `id` names. */
export function mockDomain(context: IommufdContext, ground: SelftestGround, command: Command): number {
  const { id, op, mock_domain_flags } = IommuTestCmd.read(command.view, 0);
  const flags = op === IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS ? mock_domain_flags.dev_flags : 0;
  MockDeviceObject.create(context, ground, command.task, { flags, target: id }, ({ device, bound, hwpt }) => {
    const ids = { out_stdev_id: device, out_hwpt_id: hwpt, out_idev_id: bound };
    IommuTestCmd.write(command.view, 0, { mock_domain: ids });
    command.respond(IommuTestCmd);
  });
  return 0;
}

/** selftest.c:iommufd_test_mock_domain_replace */
export function mockDomainReplace(context: IommufdContext, _ground: SelftestGround, command: Command): number {
  const { id, mock_domain_replace } = IommuTestCmd.read(command.view, 0);
  const { bound } = findMock(context, id);
  const pt_id = bound.change(command.task, mock_domain_replace.pt_id, NO_PASID, true);
  IommuTestCmd.write(command.view, 0, { mock_domain_replace: { pt_id } });
  command.respond(IommuTestCmd);
  return 0;
}

/** selftest.c:iommufd_test_pasid_attach. An answer that cannot be written takes it back. */
export function pasidAttach(context: IommufdContext, _ground: SelftestGround, command: Command): number {
  const { id, pasid_attach } = IommuTestCmd.read(command.view, 0);
  const { bound } = findMock(context, id);
  const { pasid } = pasid_attach;
  const pt_id = bound.change(command.task, pasid_attach.pt_id, pasid, false);
  IommuTestCmd.write(command.view, 0, { pasid_attach: { pasid, pt_id } });
  try {
    command.respond(IommuTestCmd);
  } catch (error) {
    bound.detachFrom(pasid);
    throw error;
  }
  return 0;
}

/** selftest.c:iommufd_test_pasid_replace */
export function pasidReplace(context: IommufdContext, _ground: SelftestGround, command: Command): number {
  const { id, pasid_replace } = IommuTestCmd.read(command.view, 0);
  const { pasid } = pasid_replace;
  const pt_id = findMock(context, id).bound.change(command.task, pasid_replace.pt_id, pasid, true);
  IommuTestCmd.write(command.view, 0, { pasid_replace: { pasid, pt_id } });
  command.respond(IommuTestCmd);
  return 0;
}

/** selftest.c:iommufd_test_pasid_detach */
export function pasidDetach(context: IommufdContext, _ground: SelftestGround, command: Command): number {
  const { id, pasid_detach } = IommuTestCmd.read(command.view, 0);
  findMock(context, id).bound.detachFrom(pasid_detach.pasid);
  return 0;
}

/** selftest.c:iommufd_test_pasid_check_hwpt. Id 0 stands for "to nothing". */
export function pasidCheckHwpt(context: IommufdContext, _ground: SelftestGround, command: Command): number {
  const { id, pasid_check } = IommuTestCmd.read(command.view, 0);
  const { pasid, hwpt_id } = pasid_check;
  const { bound, device } = findMock(context, id);
  // devices without PASIDs are attached with one in name only
  const has = pasid === NO_PASID || device.identity.pasid;
  const attached = has ? bound.attachmentOf(pasid)?.pageTable : undefined;
  if (hwpt_id === 0) {
    if (attached) fail("EINVAL", `${bound.label} is attached to ${attached.label} with PASID ${pasid}`);
    return 0;
  }
  const expected = context.objects.get(hwpt_id) ?? fail("ENOENT", `there is no object with id ${hwpt_id}`);
  if (!(expected instanceof PageTable)) fail("EINVAL", `${expected.label} is no page table`);
  if (attached !== expected) {
    fail("EINVAL", `with PASID ${pasid}, ${bound.label} is attached to ${attached?.label ?? "nothing"}`);
  }
  return 0;
}

/** selftest.c:iommufd_test_dev_check_cache */
export function deviceCheckCache(context: IommufdContext, ground: SelftestGround, command: Command): number {
  const { id, check_dev_cache } = IommuTestCmd.read(command.view, 0);
  const cached = mockOf(context, ground, id).device.cached(check_dev_cache.id);
  if (cached !== check_dev_cache.cache) fail("EINVAL", `entry ${check_dev_cache.id} of its cache is ${cached}`);
  return 0;
}

/** selftest.c:iommufd_test_md_check_iotlb */
export function checkIotlb(context: IommufdContext, ground: SelftestGround, command: Command): number {
  const { id, check_iotlb } = IommuTestCmd.read(command.view, 0);
  const hwpt = context.objects.find(id, NestedHwpt, "nested hwpt");
  const translated = ground.iommus.translated(hwpt.table, check_iotlb.id);
  if (translated !== check_iotlb.iotlb) fail("EINVAL", `entry ${check_iotlb.id} of its TLB is ${translated}`);
  return 0;
}

/** selftest.c:iommufd_test_trigger_vevent */
export function triggerVevent(context: IommufdContext, ground: SelftestGround, command: Command): number {
  mockOf(context, ground, IommuTestCmd.read(command.view, 0).trigger_vevent.dev_id).device.reportEvent();
  return 0;
}

/**
 * selftest.c:iommufd_test_trigger_iopf: the device asks for a page. A request for which nobody answers is refused, and
 * the caller hears nothing of that. A PASID that is attached to nothing is one of a guest's, whose requests go the way
 * of those without one (io-pgfault.c:find_fault_handler).
 */
export function triggerIopf(context: IommufdContext, ground: SelftestGround, command: Command): number {
  const { dev_id, pasid, grpid, perm, addr } = IommuTestCmd.read(command.view, 0).trigger_iopf;
  const { bound, device } = mockOf(context, ground, dev_id);
  const own = pasid === NO_PASID || device.identity.pasid ? bound.attachmentOf(pasid) : undefined;
  const plain = bound.attachmentOf(NO_PASID);
  const attachment = own ?? (plain?.pageTable instanceof NestedHwpt ? plain : undefined);
  const queue = attachment?.pageTable.fault;
  if (!attachment || !queue) return 0;
  const { handle } = attachment;
  queue.raise({
    handle,
    deviceId: handle.device.id,
    pasid: pasid === NO_PASID ? undefined : pasid,
    responseNeedsPasid: false,
    group: grpid,
    permissions: perm,
    address: addr,
    answered: () => {},
  });
  return 0;
}

/** selftest.c:iommufd_test_get_selftest_obj */
function findMock(context: IommufdContext, id: number): MockDeviceObject {
  return context.objects.find(id, MockDeviceObject, "mock device");
}

/** A device by the id that it is bound as. EINVAL for one that is no mock device. */
function mockOf(
  context: IommufdContext,
  { iommus }: SelftestGround,
  id: number,
): { readonly bound: BoundDevice; readonly device: SelftestDevice } {
  const bound = context.objects.find(id, BoundDevice, "device");
  const identity = context.module.requesters.find(bound.name);
  const device = identity && iommus.find(identity);
  return device ? { bound, device } : fail("EINVAL", `${bound.label} is none of the tests' devices`);
}
