import { expect, test } from "vitest";
import { Host } from "../../src/host/host.ts";
import { loadHost } from "../../src/machine/load-host.ts";

const DEVICES = "/sys/bus/pci/devices";

test("what was prepared bit by bit is what a first look finds, whenever that comes", async () => {
  const looked = new Host(await loadHost("lab"));
  const prepared = new Host(await loadHost("lab"));
  let parts = 1;
  while (!prepared.files.prepare()) parts++;
  expect(parts).toBe(prepared.description.groups.length + 1);
  const between = new Host(await loadHost("lab"));
  expect(between.files.prepare()).toBe(false);
  const names = looked.files.names(DEVICES);
  expect(names.length).toBeGreaterThan(5);
  expect(prepared.files.names(DEVICES)).toEqual(names);
  expect(between.files.names(DEVICES)).toEqual(names);
  expect(between.files.prepare()).toBe(true);
  const paths = ({ files }: Host) => [...files.snapshot().files.keys()].sort();
  expect(paths(prepared)).toEqual(paths(looked));
  expect(paths(between)).toEqual(paths(looked));
});

test("what changes before it was made is shown as it is then", async () => {
  const host = new Host(await loadHost("lab"));
  host.files.prepare();
  const unbind = host.files.find("/sys/bus/pci/drivers/vfio-pci/unbind");
  if (unbind?.kind === "file") unbind.file.write!("0000:02:00.0");
  expect(host.deviceNodes().map(({ path }) => path)).not.toContain("/dev/vfio/2");
  expect(host.files.names("/sys/bus/pci/drivers/vfio-pci")).not.toContain("0000:02:00.0");
});
