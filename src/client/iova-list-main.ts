/**
 * `node iova-list-main.js DEVICE...`: iovaList() with real system calls, as a program of its own, so that it can run on
 * a real kernel or under `uvfio run`. Exit status: 0 fine, 1 a call failed, 2 usage.
 */
import { DeviceNameError } from "./find-group.ts";
import { iovaList } from "./iova-list.ts";
import { SystemTransport } from "./system-transport.ts";
import { SystemCallError } from "./transport.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

const devices = process.argv.slice(2);
if (devices.length === 0) {
  console.error("usage: iova-list-main.js DEVICE...   (PCI address, mediated device's UUID, or path in /sys)");
  process.exitCode = EXIT_USAGE;
} else {
  try {
    iovaList(new SystemTransport(), devices, (line) => console.log(line));
  } catch (error) {
    if (!(error instanceof SystemCallError || error instanceof DeviceNameError)) throw error;
    console.error(`iova-list: ${error.message}`);
    process.exitCode = error instanceof DeviceNameError ? EXIT_USAGE : EXIT_FAILED;
  }
}
