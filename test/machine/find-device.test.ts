import { describe, expect, test } from "vitest";
import { deviceName, findDevice, findGroup } from "../../src/machine/find-device.ts";
import { HostDescriptionError } from "../../src/machine/host-description-error.ts";
import { amd } from "../../src/machine/hosts/amd.ts";
import { intel } from "../../src/machine/hosts/intel.ts";

describe("a device is found by", () => {
  test.each([
    ["0000:00:1b.0", "0000:00:1b.0"],
    ["0000:00:1B.0", "0000:00:1b.0"],
    ["/sys/bus/pci/devices/0000:00:1b.0", "0000:00:1b.0"],
    ["/sys/bus/pci/devices/0000:00:1b.0//", "0000:00:1b.0"],
    ["c08db5ed-05d3-4b39-b150-438a18bc698f", "c08db5ed-05d3-4b39-b150-438a18bc698f"],
    ["/sys/bus/mdev/devices/c08db5ed-05d3-4b39-b150-438a18bc698f/", "c08db5ed-05d3-4b39-b150-438a18bc698f"],
  ])("%s", (wanted, name) => {
    const { device, group } = findDevice(intel, wanted);
    expect(deviceName(device)).toBe(name);
    expect(group.devices).toContain(device);
  });
});

test("a device that is not there: which ones are", () => {
  expect(() => findDevice(intel, "0000:00:1c.0")).toThrow(
    new HostDescriptionError(
      'device "0000:00:1c.0" is not on host intel; its devices: ' +
        "0000:00:02.0, 0000:00:1b.0, c08db5ed-05d3-4b39-b150-438a18bc698f",
    ),
  );
  expect(() => findDevice(amd, "")).toThrow(HostDescriptionError);
  expect(() => findDevice({ ...amd, groups: [] }, "x")).toThrow(/it has no devices$/);
});

test("a group by its number", () => {
  expect(findGroup(intel, 5)?.devices).toHaveLength(1);
  expect(findGroup(intel, 99)).toBeUndefined();
});
