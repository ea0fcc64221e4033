import { expect, test } from "vitest";
import {
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_PCI_DEVID_NOT_OWNED,
  VFIO_PCI_DEVID_OWNED,
  VfioPciDependentDevice,
  VfioPciHotReset,
  VfioPciHotResetInfo,
} from "../../src/uapi/vfio-pci.ts";
import { readBundle } from "../recordings/bundle.ts";
import type { Result } from "../vfio/program.ts";
import { IommufdProgram } from "./iommufd-program.ts";

/** E and F of the recorded machines: behind one bridge, in one group. */
const [E, F] = ["/dev/vfio/devices/vfio4", "/dev/vfio/devices/vfio5"];

/** Flags and the ids of what a reset hits, in order of their addresses. */
function resetInfo(program: IommufdProgram, device: Result): { flags: number; ids: number[] } {
  const room = VfioPciDependentDevice.size * 4;
  const bytes = VfioPciHotResetInfo.encode({ argsz: VfioPciHotResetInfo.size + room }, room);
  expect(program.ioctlBytes(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, bytes)).toBe(0);
  const { flags, count } = VfioPciHotResetInfo.decode(bytes);
  const view = new DataView(bytes.buffer);
  const at = (i: number) => VfioPciHotResetInfo.size + i * VfioPciDependentDevice.size;
  return { flags, ids: Array.from({ length: count }, (_, i) => view.getInt32(at(i), true)) };
}

function hotReset(program: IommufdProgram, device: Result, count = 0): Result {
  const bytes = VfioPciHotReset.encode({ argsz: VfioPciHotReset.size, count }, 4 * count);
  return program.ioctlBytes(device, VFIO_DEVICE_PCI_HOT_RESET, bytes);
}

test("a device opened by its own node knows what a hot reset hits by ids of its iommufd", () => {
  const program = new IommufdProgram(readBundle("intel39-k72fd").host);
  const fd = program.iommufd();
  const [first, second] = [program.open(E), program.open(F)];
  expect(program.bind(first, fd)).toBe(1);
  // its neighbour is in the same group, which belongs to the iommufd although the device is not bound
  expect(resetInfo(program, first)).toEqual({ flags: 3, ids: [1, VFIO_PCI_DEVID_OWNED] });
  expect(program.bind(second, fd)).toBe(2);
  expect(resetInfo(program, second)).toEqual({ flags: 3, ids: [1, 2] });
  expect(hotReset(program, first, 1)).toBe("EINVAL");
  expect(hotReset(program, first)).toBe(0);
  program.close(second);
  program.host.binding.unbind("vfio-pci", "0000:04:02.0");
  expect(resetInfo(program, first)).toEqual({ flags: 1, ids: [1, VFIO_PCI_DEVID_NOT_OWNED] });
  expect(hotReset(program, first)).toBe("EINVAL");
});
