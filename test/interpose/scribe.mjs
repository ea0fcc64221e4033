import { defineDevice } from "uvfio/device";

const SLOTS = 16;
const at = (slot) => 0x100 + (slot % 2) * 0x1000 + (slot >> 1) * 4;

/** Counts what is written to its registers, for test/clients/watched-registers.c. */
const registers = {
  COMMAND: { at: 0, write: (device) => device.set("COMMANDS", device.get("COMMANDS") + 1n) },
  COMMANDS: { at: 4, writable: 0 },
  BACKWARD: { at: 8, writable: 0 },
};
for (let slot = 0; slot < SLOTS; slot++) {
  registers[`SLOT${slot}`] = {
    at: at(slot),
    write(device, value) {
      if (value < device.get(`SEEN${slot}`)) device.set("BACKWARD", device.get("BACKWARD") + 1n);
      device.set(`SEEN${slot}`, value);
    },
  };
  registers[`SEEN${slot}`] = { at: 0x2000 + slot * 4, writable: 0 };
}

export default defineDevice({ id: "1234:0ced", bars: { 0: { size: 0x4000, mmap: true, registers } } });
