import { fail } from "../../kernel/errors.ts";
import { VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_NONE, VFIO_PCI_MSIX_IRQ_INDEX } from "../../uapi/vfio-device.ts";
import { eventOf } from "./event.ts";
import { failBusy, type IrqRequest } from "./irq-request.ts";
import type { OpenDevice } from "./open-device.ts";

/** ACTION_TRIGGER of MSI and MSI-X (vfio_pci_intrs.c:vfio_pci_set_msi_trigger). */
export function setMessages(device: OpenDevice, request: IrqRequest): number {
  const { messages } = device;
  const { index, dataType, start, count } = request;
  const kind = index === VFIO_PCI_MSIX_IRQ_INDEX ? "MSI-X" : "MSI";
  const isOn = messages.kind === kind;
  if (isOn && count === 0 && dataType === VFIO_IRQ_SET_DATA_NONE) {
    messages.disable();
    return 0;
  }
  if (!isOn && !device.noInterrupts) failBusy(device);
  if (isOn && device.context.release.has("vectorsCounted")) messages.refuseBeyond(start + count);
  if (dataType === VFIO_IRQ_SET_DATA_EVENTFD) {
    if (isOn) {
      setBlock(device, request);
      return 0;
    }
    if (start + count === 0) fail("EINVAL", `${kind} cannot be set up with 0 vectors`);
    device.target.dma.messages?.setUp();
    messages.enable(kind, start + count);
    try {
      setBlock(device, request);
    } catch (error) {
      messages.disable();
      throw error;
    }
    return 0;
  }
  if (!isOn) fail("EINVAL", `${kind} is not set up: eventfds come first`);
  for (let i = 0; i < count; i++) {
    if (dataType === VFIO_IRQ_SET_DATA_NONE || request.isSet(i)) messages.trigger(start + i)?.signal();
  }
  return 0;
}

/**
 * Sets the events of a run of vectors. A failure takes away the events of all vectors that were reached, those that had
 * been there before included (vfio_msi_set_block; recorded on smmuv3, d_set_irqs_msix).
 */
function setBlock({ messages }: OpenDevice, { task, start, count, fd }: IrqRequest): void {
  for (let i = 0; i < count; i++) {
    try {
      setVector(i);
    } catch (error) {
      for (let j = 0; j <= i; j++) messages.clear(start + j);
      throw error;
    }
  }

  function setVector(i: number): void {
    const vector = start + i;
    messages.clear(vector);
    const number = fd(i);
    if (number < 0) return;
    messages.allocate(vector);
    messages.set(vector, eventOf(task, number));
  }
}
