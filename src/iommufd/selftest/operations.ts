import { fail } from "../../kernel/errors.ts";
import type { RequestSteps } from "../../kernel/request-steps.ts";
import * as test from "../../uapi/iommufd-test.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import type { RequestHandler } from "../requests/table.ts";
import {
  accessPages,
  accessReadWrite,
  accessReplaceIoas,
  createAccess,
  destroyAccessPages,
} from "./access-operations.ts";
import * as devices from "./device-operations.ts";
import { dmaBufGet, dmaBufRevoke } from "./dma-buf-operations.ts";
import type { SelftestGround } from "./ground.ts";
import { addReserved, checkMap, checkRefs, setDirty, setMemoryLimit } from "./memory-operations.ts";

type Operation = (context: IommufdContext, ground: SelftestGround, command: Command) => number | RequestSteps;

/** selftest.c:iommufd_test */
const OPERATIONS: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  [test.IOMMU_TEST_OP_ADD_RESERVED, addReserved],
  [test.IOMMU_TEST_OP_MOCK_DOMAIN, devices.mockDomain],
  [test.IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, devices.mockDomain],
  [test.IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, devices.mockDomainReplace],
  [test.IOMMU_TEST_OP_MD_CHECK_MAP, checkMap],
  [test.IOMMU_TEST_OP_MD_CHECK_REFS, checkRefs],
  [test.IOMMU_TEST_OP_MD_CHECK_IOTLB, devices.checkIotlb],
  [test.IOMMU_TEST_OP_DEV_CHECK_CACHE, devices.deviceCheckCache],
  [test.IOMMU_TEST_OP_CREATE_ACCESS, createAccess],
  [test.IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, accessReplaceIoas],
  [test.IOMMU_TEST_OP_ACCESS_PAGES, accessPages],
  [test.IOMMU_TEST_OP_ACCESS_RW, accessReadWrite],
  [test.IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, destroyAccessPages],
  [test.IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT, setMemoryLimit],
  [test.IOMMU_TEST_OP_DIRTY, setDirty],
  [test.IOMMU_TEST_OP_TRIGGER_IOPF, devices.triggerIopf],
  [test.IOMMU_TEST_OP_TRIGGER_VEVENT, devices.triggerVevent],
  [test.IOMMU_TEST_OP_PASID_ATTACH, devices.pasidAttach],
  [test.IOMMU_TEST_OP_PASID_REPLACE, devices.pasidReplace],
  [test.IOMMU_TEST_OP_PASID_DETACH, devices.pasidDetach],
  [test.IOMMU_TEST_OP_PASID_CHECK_HWPT, devices.pasidCheckHwpt],
  [test.IOMMU_TEST_OP_DMABUF_GET, dmaBufGet],
  [test.IOMMU_TEST_OP_DMABUF_REVOKE, dmaBufRevoke],
]);

/** IOMMU_TEST_CMD, which an iommufd has on hosts whose IOMMU was made for the kernel's tests. */
export const TEST_HANDLER: RequestHandler = {
  name: test.IommuTestCmd.name,
  size: test.IommuTestCmd.size,
  minimum: test.IommuTestCmd.endOf("last"),
  execute: (context, command) => {
    const { op } = test.IommuTestCmd.read(command.view, 0);
    const operation = OPERATIONS.get(op) ?? fail("EOPNOTSUPP", `operation ${op} is unknown (1 to 23)`);
    return operation(context, context.module.selftest!, command);
  },
};
