import type { PciFunction } from "../devices/pci/function.ts";
import { fail } from "../kernel/errors.ts";
import type { Host } from "./host.ts";
import { LiveFiles } from "./sysfs/live-files.ts";

/** What happens to the hardware of a host while programs run. */
export class HostControl {
  readonly #host: Host;
  readonly #files: LiveFiles;

  /** Of that host. */
  constructor(host: Host) {
    this.#host = host;
    this.#files = new LiveFiles(host);
  }

  /**
   * Takes a device away as `echo 1 > remove` does. Throws EBUSY (WaitsError) while a program has it, which is asked for
   * it by the REQ interrupt: a kernel waits here.
   */
  remove(device: string): void {
    this.#function(device);
    this.#files.write(`/sys/bus/pci/devices/${device}/remove`, "1");
  }

  /**
   * Pulls a device out: from now on its registers and its config space read as all ones but for what vfio-pci makes up
   * itself, writes are lost, and no DMA and no interrupt comes from it. Then it is removed as above.
   */
  pull(device: string): void {
    this.link(device, false);
    this.remove(device);
  }

  /**
   * Plugs a device in that was removed: it comes up reset. ENODEV for one that is there.
   * @param driver that takes it; left out, whose it is by itself, as Linux does it: vfio-pci takes none so
   */
  add(device: string, driver?: string): void {
    const target = this.#function(device);
    if (!this.#host.rediscover(device, driver)) fail("ENODEV", `${device} is there already`);
    target.isCutOff = false;
    target.reset();
  }

  /** A device's link goes down, or comes up again: then the device has been reset. */
  link(device: string, isUp: boolean): void {
    const target = this.#function(device);
    if (target.isCutOff === !isUp) return;
    target.isCutOff = !isUp;
    if (isUp) target.reset();
    target.showRegisters();
  }

  /**
   * An uncorrectable error of a device is reported (AER): its user hears of it by the ERR interrupt
   * (vfio_pci_core.c:vfio_pci_core_aer_err_detected). ENODEV when nobody has the device open.
   */
  aer(device: string): void {
    const { interrupts } = this.#function(device);
    if (interrupts === undefined) fail("ENODEV", `nobody has ${device} open`);
    interrupts.error();
  }

  #function(device: string): PciFunction {
    return this.#host.pciFunction(device) ?? fail("ENODEV", `${device} is no PCI device of this host`);
  }
}
