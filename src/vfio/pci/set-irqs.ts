import { fail, hex } from "../../kernel/errors.ts";
import type { EventSignal } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import { StructView } from "../../uapi/struct-view.ts";
import {
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_TYPE_MASK,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_IRQ_SET_DATA_TYPE_MASK,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  VfioIrqSet,
} from "../../uapi/vfio-device.ts";
import { UserStruct } from "../user-struct.ts";
import { eventOf } from "./event.ts";
import { refuseIndex, vectorCount } from "./irq-info.ts";
import { failBusy, type IrqRequest } from "./irq-request.ts";
import type { OpenDevice } from "./open-device.ts";
import { setMessages } from "./set-messages.ts";

const AT = VfioIrqSet.offsets;
const MINIMUM = VfioIrqSet.endOf("count");
const U32_MAX = 0xffff_ffff;
const NO_DATA = new Uint8Array(0);

const user = new UserStruct(MINIMUM);

const INDEX_NAMES = ["INTx", "MSI", "MSI-X", "ERR", "REQ"] as const;

/** VFIO_DEVICE_SET_IRQS (vfio_pci_core.c:vfio_pci_ioctl_set_irqs, vfio_pci_intrs.c:vfio_pci_set_irqs_ioctl). */
export function setIrqs(device: OpenDevice, task: Task, arg: Word): number {
  user.copyIn(task, arg, MINIMUM);
  const flags = user.u32(AT.flags);
  const request = readRequest(device, task, arg, flags);
  const action = flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
  switch (request.index) {
    case VFIO_PCI_INTX_IRQ_INDEX:
      if (action === VFIO_IRQ_SET_ACTION_MASK) return maskIntx(device, request);
      if (action === VFIO_IRQ_SET_ACTION_UNMASK) return unmaskIntx(device, request);
      if (action === VFIO_IRQ_SET_ACTION_TRIGGER) return triggerIntx(device, request);
      break;
    case VFIO_PCI_MSI_IRQ_INDEX:
    case VFIO_PCI_MSIX_IRQ_INDEX:
      if (action === VFIO_IRQ_SET_ACTION_TRIGGER) return setMessages(device, request);
      break;
    case VFIO_PCI_ERR_IRQ_INDEX:
      if (action === VFIO_IRQ_SET_ACTION_TRIGGER && device.target.isExpress) {
        return triggerSingle(request, device.errorEvent, (event) => (device.errorEvent = event));
      }
      break;
    case VFIO_PCI_REQ_IRQ_INDEX:
      if (action === VFIO_IRQ_SET_ACTION_TRIGGER) {
        return triggerSingle(request, device.requestEvent, (event) => (device.requestEvent = event));
      }
      break;
  }
  fail(
    "ENOTTY",
    `${request.name} has no such action (${hex(action)}); exactly one of MASK, UNMASK and TRIGGER is wanted, and only INTx can be masked`,
  );
}

/** vfio_main.c:vfio_set_irqs_validate_and_prepare, then the data is copied. */
function readRequest(device: OpenDevice, task: Task, arg: Word, flags: number): IrqRequest {
  const argsz = user.u32(AT.argsz);
  const index = user.u32(AT.index);
  const start = user.u32(AT.start);
  const count = user.u32(AT.count);
  if (argsz < MINIMUM) fail("EINVAL", `argsz of struct vfio_irq_set is ${argsz}, at least ${MINIMUM} are needed`);
  refuseIndex(device, index);
  const isChecked = device.context.release.has("irqSetChecked");
  if (isChecked && count >= U32_MAX - start) fail("EINVAL", `start ${start} plus count ${count} is beyond 32 bits`);
  const known = VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK;
  if (flags & ~known) fail("EINVAL", `unknown flag bits ${hex((flags & ~known) >>> 0)}`);
  const name = INDEX_NAMES[index]!;
  const dataType = dataTypeOf(flags, isChecked);
  const vectors = vectorCount(device, index);
  const isBeyond = start >= vectors || start + count > vectors;
  if (isBeyond && (isChecked || dataType !== VFIO_IRQ_SET_DATA_NONE)) {
    fail(
      "EINVAL",
      `start ${start} plus count ${count} is beyond the vectors of ${name} that ${device.target.name} has (${vectors})`,
    );
  }
  const bytes = dataBytes(dataType) * count;
  if (argsz - MINIMUM < bytes) fail("EINVAL", `argsz ${argsz} leaves no room for ${bytes} bytes of data`);
  const data = bytes > 0 ? new Uint8Array(bytes) : NO_DATA;
  if (bytes > 0) task.memory.copyIn(wordAdd(arg, MINIMUM), data, bytes);
  // made for eventfds only: a view takes as long as all that raises an interrupt
  let view: StructView | undefined;
  // the kernel looks at the first element even when the count is 0; the count is checked later
  return {
    task,
    name,
    index,
    dataType,
    start,
    count,
    isSet: (i) => (data[i] ?? 0) !== 0,
    fd: (i) => {
      view ??= new StructView(data, task.memory.littleEndian);
      return view.s32(i * 4);
    },
  };
}

/** Before it was checked, the first of several types counted. */
function dataTypeOf(flags: number, isChecked: boolean): number {
  const given = flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
  if (isChecked) return given;
  const order = [VFIO_IRQ_SET_DATA_NONE, VFIO_IRQ_SET_DATA_BOOL, VFIO_IRQ_SET_DATA_EVENTFD];
  return order.find((type) => given & type) ?? 0;
}

function dataBytes(dataType: number): number {
  switch (dataType) {
    case VFIO_IRQ_SET_DATA_NONE:
      return 0;
    case VFIO_IRQ_SET_DATA_BOOL:
      return 1;
    case VFIO_IRQ_SET_DATA_EVENTFD:
      return 4;
    default:
      fail("EINVAL", "exactly one of DATA_NONE, DATA_BOOL and DATA_EVENTFD is wanted");
  }
}

function maskIntx({ intx }: OpenDevice, request: IrqRequest): number {
  needIntx(intx.active, request);
  if (request.dataType === VFIO_IRQ_SET_DATA_EVENTFD) fail("ENOTTY", "no kernel masks INTx through an eventfd");
  if (request.dataType === VFIO_IRQ_SET_DATA_NONE || request.isSet(0)) intx.mask();
  return 0;
}

function unmaskIntx({ intx }: OpenDevice, request: IrqRequest): number {
  needIntx(intx.active, request);
  if (request.dataType !== VFIO_IRQ_SET_DATA_EVENTFD) {
    if (request.dataType === VFIO_IRQ_SET_DATA_NONE || request.isSet(0)) intx.unmask();
    return 0;
  }
  const fd = request.fd(0);
  if (fd >= 0) intx.setUnmaskEvent(eventOf(request.task, fd));
  else intx.stopUnmaskEvent();
  return 0;
}

function needIntx(active: boolean, { start, count }: IrqRequest): void {
  if (!active) fail("EINVAL", "INTx is not set up: an eventfd (ACTION_TRIGGER) comes first");
  if (start !== 0 || count !== 1) fail("EINVAL", `there is one INTx, vector 0; ${count} from ${start} on were named`);
}

/** vfio_pci_set_intx_trigger */
function triggerIntx(device: OpenDevice, request: IrqRequest): number {
  const { intx } = device;
  const { start, count, dataType } = request;
  if (intx.active && count === 0 && dataType === VFIO_IRQ_SET_DATA_NONE) {
    intx.disable();
    return 0;
  }
  if (!intx.active && !device.noInterrupts) failBusy(device);
  if (start !== 0 || count !== 1) fail("EINVAL", `there is one INTx, vector 0; ${count} from ${start} on were named`);
  if (dataType === VFIO_IRQ_SET_DATA_EVENTFD) {
    const fd = request.fd(0);
    const trigger = fd >= 0 ? eventOf(request.task, fd) : undefined;
    if (intx.active) intx.replaceTrigger(trigger);
    else enableIntx(device, trigger);
    return 0;
  }
  if (!intx.active) fail("EINVAL", "INTx is not set up: an eventfd comes before a test");
  if (dataType === VFIO_IRQ_SET_DATA_NONE || request.isSet(0)) intx.signal();
  return 0;
}

function enableIntx({ intx }: OpenDevice, trigger: EventSignal | undefined): void {
  try {
    intx.enable(trigger);
  } catch (error) {
    trigger?.release();
    throw error;
  }
}

/** The ERR and REQ indexes: an eventfd that can be tested (vfio_pci_set_ctx_trigger_single). */
function triggerSingle(
  { task, name, dataType, start, count, fd, isSet }: IrqRequest,
  event: EventSignal | undefined,
  replace: (event: EventSignal | undefined) => void,
): number {
  if (start !== 0 || count > 1) fail("EINVAL", `there is one vector of ${name}; ${count} from ${start} on were named`);
  if (dataType === VFIO_IRQ_SET_DATA_NONE) {
    if (!event) fail("EINVAL", `${name} has no eventfd to raise or to take away`);
    if (count > 0) event.signal();
    else {
      event.release();
      replace(undefined);
    }
    return 0;
  }
  if (count === 0) fail("EINVAL", `data for ${name} is announced but the count is 0`);
  if (dataType === VFIO_IRQ_SET_DATA_BOOL) {
    if (isSet(0)) event?.signal();
    return 0;
  }
  const number = fd(0);
  if (number < -1) fail("EINVAL", `${number} is no descriptor; -1 takes an eventfd away`);
  const next = number === -1 ? undefined : eventOf(task, number);
  event?.release();
  replace(next);
  return 0;
}
