import { closeSync } from "node:fs";
import {
  VFIO_IRQ_INFO_AUTOMASKED,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_INTX_IRQ_INDEX,
  VfioIrqSet,
} from "../../../uapi/vfio-device.ts";
import { VFIO_USER_DEVICE_SET_IRQS } from "../../../vfio-user/commands.ts";
import { newEvent, takeEvent } from "../../../vfio-user/sockets.ts";
import type { DeviceBus } from "../../device-model.ts";
import { RefusedError, type RemoteDevice } from "./remote-device.ts";

const SIZE = VfioIrqSet.endOf("count");
/** Vectors that are listened to: each takes a descriptor here. */
const MOST_VECTORS = 256;

/** The interrupts of a device elsewhere: eventfds that its server raises, of one index at a time. */
export class RemoteInterrupts {
  readonly #bus: DeviceBus;
  readonly #remote: RemoteDevice;
  #index: number | undefined;
  readonly #events: { readonly fd: number; readonly stop: () => void }[] = [];
  #lineIsMasked = false;
  #linePends = false;

  constructor(bus: DeviceBus, remote: RemoteDevice) {
    this.#bus = bus;
    this.#remote = remote;
  }

  /** Listens to the line, or to the messages of an index, and to nothing else. @throws PeerError */
  use(index: number): void {
    if (index === this.#index) return;
    this.#leave();
    const has = this.#remote.irqs[index]?.count ?? 0;
    const count = Math.min(has, MOST_VECTORS);
    if (has > count) this.#bus.report?.(`it has ${has} interrupts, of which the first ${count} are heard`);
    if (count === 0) return;
    this.#index = index;
    for (let vector = 0; vector < count; vector++) this.#listen(index, vector);
    const most = Math.max(1, Math.min(this.#remote.abilities.maxMessageFds, 64));
    for (let start = 0; start < count; start += most) {
      const fds = this.#events.slice(start, start + most).map(({ fd }) => fd);
      this.#set(
        { flags: VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, index, start, count: fds.length },
        fds,
      );
    }
  }

  /** The driver masks the line, or unmasks it: then what came meanwhile comes now. */
  lineMasked(isMasked: boolean): void {
    if (isMasked === this.#lineIsMasked) return;
    this.#lineIsMasked = isMasked;
    if (isMasked || this.#index !== VFIO_PCI_INTX_IRQ_INDEX) return;
    const flags = this.#remote.irqs[VFIO_PCI_INTX_IRQ_INDEX]!.flags;
    if (flags & VFIO_IRQ_INFO_AUTOMASKED)
      this.#set({ flags: VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, index: 0, start: 0, count: 1 }, []);
    if (!this.#linePends) return;
    this.#linePends = false;
    this.#pulse();
  }

  /** Looks for what the server has raised. */
  look(): void {
    const index = this.#index;
    for (const [vector, { fd }] of this.#events.entries()) if (takeEvent(fd)) this.#raised(index!, vector);
  }

  close(): void {
    for (const { fd, stop } of this.#events.splice(0)) {
      stop();
      closeSync(fd);
    }
    this.#index = undefined;
  }

  #listen(index: number, vector: number): void {
    const fd = newEvent();
    const stop = this.#bus.clock.watchDescriptor(fd, () => {
      if (takeEvent(fd)) this.#raised(index, vector);
    });
    this.#events.push({ fd, stop });
  }

  #raised(index: number, vector: number): void {
    if (index !== VFIO_PCI_INTX_IRQ_INDEX) this.#bus.sendMessage(vector);
    else if (this.#lineIsMasked) this.#linePends = true;
    else this.#pulse();
  }

  /** Nobody says when the line goes down again: it does at once. */
  #pulse(): void {
    this.#bus.setLine(true);
    this.#bus.setLine(false);
  }

  #leave(): void {
    const index = this.#index;
    this.close();
    if (index === undefined) return;
    this.#set({ flags: VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, index, start: 0, count: 0 }, []);
  }

  /** What a server refuses is told, and does not happen. */
  #set(
    request: { readonly flags: number; readonly index: number; readonly start: number; readonly count: number },
    descriptors: readonly number[],
  ): void {
    const body = VfioIrqSet.encode({ argsz: SIZE, ...request }).subarray(0, SIZE);
    try {
      this.#remote.ask(VFIO_USER_DEVICE_SET_IRQS, [body], descriptors);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      this.#bus.report?.(`its server: ${error.message} of index ${request.index}`);
    }
  }
}
