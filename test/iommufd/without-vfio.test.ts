import { expect, test } from "vitest";
import { DeviceClock } from "../../src/devices/device-clock.ts";
import { DEVICE_KINDS } from "../../src/devices/kinds.ts";
import { FunctionErrors } from "../../src/devices/pci/function-errors.ts";
import { unitOf } from "../../src/iommu/describe-unit.ts";
import { DmaGroup } from "../../src/iommu/dma-group.ts";
import { IommufdContext } from "../../src/iommufd/context.ts";
import { bindDevice } from "../../src/iommufd/devices/bind-device.ts";
import { Ioas } from "../../src/iommufd/ioas.ts";
import { mapNew } from "../../src/iommufd/memory/map-area.ts";
import { userSlice } from "../../src/iommufd/memory/new-pages.ts";
import { PinAccounts } from "../../src/iommufd/memory/pin-account.ts";
import { PROT_READ, PROT_WRITE } from "../../src/kernel/model-areas.ts";
import { ModelTask } from "../../src/kernel/model-task.ts";
import { Release } from "../../src/kernel/releases.ts";
import { Requesters } from "../../src/vfio/requesters.ts";
import { HOST } from "./iommufd-program.ts";

test("an iommufd binds and attaches a device of a group that VFIO has no file for", () => {
  const release = new Release(HOST.kernel);
  const group = new DmaGroup(
    { id: 1, unit: unitOf(HOST.iommu, release), kind: "iommu", reservedRegions: [], deviceNames: ["mock"] },
    { in: () => [] },
  );
  const task = new ModelTask();
  const context = new IommufdContext(
    {
      context: {
        release,
        arch: HOST.arch,
        errors: new FunctionErrors(false),
        pageSize: HOST.pageSize,
        clock: new DeviceClock(),
        kinds: DEVICE_KINDS,
        numberParameter: () => 0,
        booleanParameter: () => true,
        warn: () => {},
      },
      accounts: new PinAccounts(),
      noIommuBuilt: false,
      requesters: new Requesters(HOST),
      pasidHardware: undefined,
      contexts: new Set(),
      selftest: undefined,
      faults: undefined,
    },
    "user",
    task,
  );
  const ioas = new Ioas(HOST.pageSize);
  context.objects.add(ioas);
  const memory = task.memory.mmap({ length: 4096, protection: PROT_READ | PROT_WRITE });
  task.memory.copyOut(memory, new Uint8Array([1, 2, 3, 4]), 4);
  const slice = userSlice(context, task, BigInt(memory), 4096n, true);
  mapNew(ioas.table, slice, 0x5000n, { readable: true, writeable: true });

  const binding = bindDevice(context, "mock", group);
  const into = new Uint8Array(4);
  expect(group.port("mock").read(0x5000n, into)?.reason).toBeDefined();
  binding.attach(task, ioas.id);
  expect([group.port("mock").read(0x5000n, into), [...into]]).toEqual([undefined, [1, 2, 3, 4]]);
  binding.unbind();
  expect([group.isClaimed, group.port("mock").read(0x5000n, into)?.reason]).toEqual([
    false,
    "the device's group is in no container with an IOMMU",
  ]);
});
