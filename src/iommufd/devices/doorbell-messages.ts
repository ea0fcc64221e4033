import type { MessagePath } from "../../iommu/dma-target.ts";
import { fail, KernelError } from "../../kernel/errors.ts";
import type { PageTable } from "./page-table.ts";

/** What a group's devices are attached to, as their interrupt messages find it. */
interface MessageGround {
  /** The kernel maps doorbells itself, and sets no interrupt up where it cannot. */
  readonly needsAttachment: boolean;
  /** Of requests without a PASID; undefined while nothing is attached. */
  attached(): PageTable | undefined;
  /** Whether a message that a device writes to the doorbell arrives there. */
  send(name: string, message: Uint8Array): boolean;
}

/**
 * Interrupt messages of a group's devices behind an IOMMU that translates them. The kernel maps the page of the
 * doorbell where they are attached, when a first interrupt is set up and with each attach from then on
 * (driver.c:iommufd_sw_msi, device.c:iommufd_group_setup_msi).
 */
export class DoorbellMessages {
  readonly #ground: MessageGround;
  #isNeeded = false;

  constructor(ground: MessageGround) {
    this.#ground = ground;
  }

  /** The way of one device's messages. */
  of(name: string): MessagePath {
    return {
      setUp: () => this.#setUp(name),
      send: (vector) => this.#send(name, vector),
    };
  }

  /** The devices are about to be attached to something else. EEXIST where a mapping is in the doorbell's way. */
  attaching(pageTable: PageTable): void {
    if (this.#isNeeded) pageTable.paging.installDoorbell();
  }

  #setUp(name: string): void {
    const pageTable = this.#ground.attached();
    if (!pageTable) {
      if (!this.#ground.needsAttachment) return;
      fail(
        "ENOSPC",
        `${name} is attached to no page table, in which the kernel could map where its interrupt messages go: attach it first (VFIO_DEVICE_ATTACH_IOMMUFD_PT)`,
      );
    }
    try {
      pageTable.paging.installDoorbell();
    } catch (error) {
      // whatever the reason, the core of message interrupts has no vectors then
      if (error instanceof KernelError) fail("ENOSPC", error.reason);
      throw error;
    }
    this.#isNeeded = true;
  }

  #send(name: string, vector: number): boolean {
    if (!this.#ground.attached()) return false;
    const message = new Uint8Array(4);
    new DataView(message.buffer).setUint32(0, vector, true);
    return this.#ground.send(name, message);
  }
}
