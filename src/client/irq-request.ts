import { StructView } from "../uapi/struct-view.ts";
import {
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VfioIrqSet,
} from "../uapi/vfio-device.ts";
import type { EventFd } from "./transport.ts";

const ACTIONS = {
  trigger: VFIO_IRQ_SET_ACTION_TRIGGER,
  mask: VFIO_IRQ_SET_ACTION_MASK,
  unmask: VFIO_IRQ_SET_ACTION_UNMASK,
} as const;

const EVENTFD_SIZE = 4;
const NO_EVENTFD = -1;

/**
 * What Device.setIrqs() is to do. One of `events`, `flags` and `count` says with which vectors; left out all three,
 * with one.
 */
export interface IrqRequest {
  /** VFIO_PCI_*_IRQ_INDEX. */
  readonly index: number;
  /** The first vector; 0 when left out. */
  readonly start?: number;
  /** What happens to them: "trigger" when left out, which with `events` connects them. */
  readonly action?: keyof typeof ACTIONS;
  /** An eventfd a vector, null for none (DATA_EVENTFD). */
  readonly events?: readonly (Pick<EventFd, "fd"> | null)[];
  /** Whether it happens to that vector (DATA_BOOL). */
  readonly flags?: readonly boolean[];
  /** It happens to so many (DATA_NONE); with 0 and "trigger" the whole index is switched off. */
  readonly count?: number;
}

/** The argument of VFIO_DEVICE_SET_IRQS. @throws TypeError for a request with two kinds of data */
export function encodeIrqSet(request: IrqRequest, littleEndian: boolean): Uint8Array {
  const { index, start = 0, action = "trigger", events, flags, count = 1 } = request;
  if (Number(events !== undefined) + Number(flags !== undefined) + Number(request.count !== undefined) > 1)
    throw new TypeError("setIrqs() takes one of events, flags and count");
  const data = events ? eventData(events, littleEndian) : Uint8Array.from(flags ?? [], Number);
  const kind = events ? VFIO_IRQ_SET_DATA_EVENTFD : flags ? VFIO_IRQ_SET_DATA_BOOL : VFIO_IRQ_SET_DATA_NONE;
  const fields = {
    argsz: VfioIrqSet.size + data.length,
    flags: kind | ACTIONS[action],
    index,
    start,
    count: (events ?? flags)?.length ?? count,
  };
  const argument = VfioIrqSet.encode(fields, data.length, littleEndian);
  argument.set(data, VfioIrqSet.size);
  return argument;
}

function eventData(events: NonNullable<IrqRequest["events"]>, littleEndian: boolean): Uint8Array {
  const data = new Uint8Array(events.length * EVENTFD_SIZE);
  const view = new StructView(data, littleEndian);
  for (const [vector, event] of events.entries()) view.setS32(vector * EVENTFD_SIZE, event?.fd ?? NO_EVENTFD);
  return data;
}
