import { type DeviceDma, type DmaFault, type DmaTarget, NoTarget, type PasidRequest } from "../iommu/dma-target.ts";

/**
 * Hears what devices do by themselves, where no call of a program shows it. Tracing, fault injection and the sanitizer
 * are written with it.
 */
export interface ModelWatch {
  /** A device is about to access memory. A text refuses that: the access faults with it as the reason. */
  dma?(device: string, write: boolean, iova: bigint, length: number): string | undefined;
  /** The access is over. */
  dmaDone?(device: string, write: boolean, iova: bigint, length: number, fault: DmaFault | undefined): void;
  /**
   * A program has written a register that it has mapped; the device has not heard of it yet. `offset` is bytes into the
   * region.
   */
  registerWritten?(device: string, region: number, offset: number, width: number, value: bigint): void;
  /** A device raises an interrupt of the program that has it: "INTx", "MSI 0", "MSI-X 3". */
  interrupt?(device: string, what: string): void;
  /** Devices went on with long jobs between calls: so many pieces of work, in the turns that they take. */
  worked?(pieces: number): void;
}

/** Where a device's accesses go, with somebody who watches them. */
export class WatchedTarget implements DeviceDma {
  readonly #device: string;
  readonly #target: DeviceDma;
  readonly #watch: ModelWatch;

  constructor(device: string, target: DeviceDma, watch: ModelWatch) {
    this.#device = device;
    this.#target = target;
    this.#watch = watch;
  }

  read(iova: bigint, into: Uint8Array, waits?: boolean): DmaFault | undefined {
    const reason = this.#watch.dma?.(this.#device, false, iova, into.length);
    if (reason !== undefined) into.fill(0);
    const fault = reason === undefined ? this.#target.read(iova, into, waits) : { iova, reason };
    return this.#over(false, iova, into.length, fault);
  }

  write(iova: bigint, from: Uint8Array, waits?: boolean): DmaFault | undefined {
    const reason = this.#watch.dma?.(this.#device, true, iova, from.length);
    const fault = reason === undefined ? this.#target.write(iova, from, waits) : { iova, reason };
    return this.#over(true, iova, from.length, fault);
  }

  /** An access that waits for a page is over when that is refused; granted, it is made again. */
  #over(write: boolean, iova: bigint, length: number, fault: DmaFault | undefined): DmaFault | undefined {
    const done = () => this.#watch.dmaDone?.(this.#device, write, iova, length, fault);
    if (!fault?.ask) {
      done();
      return fault;
    }
    const ask = (answered: (granted: boolean) => void) =>
      fault.ask!((granted) => {
        if (!granted) done();
        answered(granted);
      });
    return { ...fault, ask };
  }

  get watchMappings(): DeviceDma["watchMappings"] {
    const target = this.#target as DeviceDma;
    return target.watchMappings && ((listener) => target.watchMappings!(listener));
  }

  withPasid(request: PasidRequest): DmaTarget {
    const target = this.#target.withPasid?.(request);
    return target ? new WatchedTarget(this.#device, target, this.#watch) : NO_PASIDS;
  }
}

const NO_PASIDS = new NoTarget("nothing translates PASIDs for the device");
