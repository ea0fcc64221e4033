import { igb } from "../../devices/kinds/igb/kind.ts";
import type { HostDescription } from "../../machine/host-description.ts";
import { viewOf } from "../../uapi/layout.ts";
import type { Difference } from "./compare.ts";
import type { Rule } from "./difference-rule.ts";
import { isBytesIoctl, type Operation } from "./operation.ts";
import { fromHex } from "./outcome.ts";

/** Where the model of the 82576 does otherwise than QEMU's, which was recorded (FINDINGS of the recordings). */
export function igbRules(host: HostDescription): Rule[] {
  const devices = host.groups.flatMap(({ devices }) => devices);
  if (!devices.some(({ model }) => model === igb.model)) return [];
  return [crossingRule(), sleepRule(), lastSegmentRule(), segmentCountRule(), newFunctionsRule(host)];
}

const PAGE = 4096;
const DESCRIPTOR = 16;
/** BAR 0 of a device file. */
const isRegister = (off: string | number) => BigInt(off) < 0x2_0000n;

/** QEMU maps one page of a transmit buffer; the datasheet has no such limit (7.2.2.3). */
function crossingRule(): Rule {
  let seen = false;
  return {
    reason: "QEMU's 82576 does not send a buffer that crosses a page; the model does",
    explains(operation) {
      if (operation.op === "put" && operation.in.length === 2 * DESCRIPTOR) {
        const view = viewOf(fromHex(operation.in));
        const [address, length] = [view.getUint32(0, true) % PAGE, view.getUint32(8, true) & 0xffff];
        seen ||= length > 0 && address + length > PAGE;
      }
      const isShown =
        operation.op === "dump" || operation.op === "poll64" || (operation.op === "pread" && isRegister(operation.off));
      return seen && isShown;
    },
  };
}

/** The control word of power management in the recorded devices' config space. */
const POWER_CONTROL = 0x700_0000_0044n;
const D3HOT = 3;

/** A function that says that it is reset on its way from D3hot (No_Soft_Reset is clear). */
function sleepRule(): Rule {
  let slept = false;
  return {
    reason: "QEMU's 82576 keeps its registers in D3hot, although No_Soft_Reset is clear; the model is reset",
    explains(operation, difference) {
      if (operation.op === "pwrite" && BigInt(operation.off) === POWER_CONTROL)
        slept ||= (fromHex(operation.in)[0]! & D3HOT) === D3HOT;
      return slept && operation.op === "pread" && difference?.field === "data" && isRegister(operation.off);
    },
  };
}

const TCP_FIN_PSH = 0x09;
/** From TCP's flags to its checksum. */
const TO_CHECKSUM = 3;

/** The last segment of a packet has its FIN and PSH (DTXTCPFLGH); otherwise a connection is never closed. */
function lastSegmentRule(): Rule {
  return {
    reason: "QEMU's 82576 takes FIN and PSH out of a packet's last segment too; the model leaves them there",
    explains(operation, difference) {
      if (operation.op !== "dump" || difference?.field !== "data") return false;
      const [recorded, ours] = [fromHex(difference.recorded), fromHex(difference.ours)];
      const other = [...recorded.keys()].filter((at) => recorded[at] !== ours[at]);
      const [flags = 0, ...sums] = other;
      const isFlags = other.length > 0 && (recorded[flags]! | (ours[flags]! & TCP_FIN_PSH)) === ours[flags];
      return isFlags && sums.every((at) => at === flags + TO_CHECKSUM || at === flags + TO_CHECKSUM + 1);
    },
  };
}

/** TSCTC: packets that were cut into segments. */
const SEGMENTED = 0x40f8;

/** A legacy packet of QEMU's has the options of the last advanced one, of whatever program. */
function segmentCountRule(): Rule {
  return {
    reason: "QEMU's 82576 sends a legacy packet with the options of the advanced one before it, over resets",
    explains(operation, difference) {
      if (difference?.field !== "data") return false;
      if (operation.op !== "pread" && operation.op !== "preadloop") return false;
      const at = 2 * (SEGMENTED - Number(operation.off));
      const { recorded, ours } = difference;
      const without = (text: string) => text.slice(0, at) + text.slice(at + 8);
      return at >= 0 && at < recorded.length && without(recorded) === without(ours);
    },
  };
}

/** QEMU makes new virtual functions when the physical one is reset; they have memory decoding off. */
function newFunctionsRule(host: HostDescription): Rule {
  const physical = new Set(
    host.groups.flatMap(({ devices }) =>
      devices.flatMap((d) => (d.model === igb.model && d.bus === "pci" ? d.bdf : [])),
    ),
  );
  const names = new Map<string, string>();
  let reset = false;
  return {
    reason: "an open virtual function of QEMU's 82576 is gone once the physical one was reset; the model's goes on",
    explains(operation: Operation, difference: Difference | undefined) {
      if (operation.op === "ioctl") {
        if (isBytesIoctl(operation) && typeof operation.ret_is_fd === "string")
          names.set(operation.ret_is_fd, Buffer.from(fromHex(operation.in)).toString("latin1").replace(/\0.*$/s, ""));
        reset ||= operation.req === "VFIO_DEVICE_RESET" && physical.has(names.get(String(operation.fd)) ?? "");
      }
      if (!reset || operation.op !== "pread" || difference?.field !== "data") return false;
      return !physical.has(names.get(String(operation.fd)) ?? "") && /^0*$/.test(difference.recorded);
    },
  };
}
