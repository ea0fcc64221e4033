import type { DeviceBus } from "../device-model.ts";

/** The memory that a queue lies in. What cannot be read is zeros, what cannot be written is lost. */
export interface Memory {
  /** @returns whether all of it was read */
  read(iova: bigint, into: Uint8Array): boolean;
  write(iova: bigint, from: Uint8Array): void;
}

/** That of the function behind a bus. */
export function memoryOf(bus: Pick<DeviceBus, "dmaRead" | "dmaWrite">): Memory {
  return {
    read: (iova, into) => bus.dmaRead(iova, into),
    write: (iova, from) => void bus.dmaWrite(iova, from),
  };
}
