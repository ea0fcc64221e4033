import { describe, expect, test } from "vitest";
import * as reg from "../../../src/devices/kinds/e1000e/registers.ts";
import { SavedStateError } from "../../../src/devices/saved-state.ts";
import { connectAll, makePort, packet, TestDriver } from "../igb/bench.ts";
import { TestBus } from "../nvme/bench.ts";
import { CardDriver, DATA, EOP_RS, type Form, makeCard } from "./bench.ts";

const IXSM_TXSM = 0x300;
const TSE = 1 << 26;
const VLE = 1 << 30;
const IDE = 1 << 31;
const GPTC = 0x4080;
const GPRC = 0x4074;
const BMCR_RESTART = 0x0420_1340;
/** DD and EOP of a received frame. */
const WHOLE = 3;

function looped(form: Form = "extended", bus = new TestBus()): CardDriver {
  const driver = new CardDriver(bus, makeCard(bus, { loopback: true }), form);
  driver.start();
  return driver;
}

/** MSI-X as Linux has it: receive rings 0 and 1, transmit ring 0, others. */
function withVectors(): CardDriver {
  const bus = Object.assign(new TestBus(), { usesMsix: true });
  const driver = looped("extended", bus);
  driver.write(reg.IVAR, 0x8000_0000 | (0xb << 16) | (0xa << 8) | (0x9 << 4) | 0x8);
  driver.write(reg.EIAC, reg.ICR_RXQ0 | reg.ICR_TXQ0 | reg.ICR_OTHER);
  bus.messages.length = 0;
  driver.read(reg.ICR);
  return driver;
}

describe("what comes in", () => {
  test.each<Form>(["legacy", "extended"])("a frame is in its buffer, and its %s descriptor says so", (form) => {
    const driver = looped(form);
    driver.send(packet());
    const taken = driver.take()!;
    expect(taken.frame).toEqual(packet());
    expect(taken.status & WHOLE).toBe(WHOLE);
    expect(driver.isDone).toBe(true);
  });

  test("a packet is split: its headers in one buffer, its data in another", () => {
    const driver = looped("split");
    driver.send(packet({ payload: 500 }));
    const taken = driver.take()!;
    expect([taken.frame.length, taken.data.length]).toEqual([54, 500]);
    expect(Buffer.concat([taken.frame, taken.data])).toEqual(packet({ payload: 500 }));
  });

  test("what is no IP packet begins in the first buffer and goes on in the second", () => {
    const driver = looped("split");
    const frame = packet({ payload: 500 });
    frame.writeUInt16BE(0x1234, 12);
    driver.send(frame);
    const taken = driver.take()!;
    expect([taken.frame.length, taken.data.length]).toEqual([256, frame.length - 256]);
  });

  test("a frame longer than a buffer takes several, and only the last one ends it", () => {
    const driver = looped();
    driver.write(reg.RCTL, driver.read(reg.RCTL) | reg.RCTL_LPE);
    driver.send(packet({ payload: 2500 }));
    const [first, last] = [driver.take()!, driver.take()!];
    expect([first.status & WHOLE, last.status & WHOLE]).toEqual([1, WHOLE]);
    expect(Buffer.concat([first.frame, last.frame])).toEqual(packet({ payload: 2500 }));
  });

  test("RSS has the hash of the specification's example, and its queue", () => {
    const driver = looped();
    const key = "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa";
    for (let i = 0; i < 10; i++)
      driver.write(reg.RSSRK + 4 * i, Buffer.from(key.slice(8 * i, 8 * i + 8), "hex").readUInt32LE());
    for (let i = 0; i < 32; i++) driver.write(reg.RETA + 4 * i, 0x8080_8080);
    driver.write(reg.RXCSUM, reg.RXCSUM_PCSD);
    driver.write(reg.MRQC, 1 | (1 << 16));
    driver.send(packet({ from: "66.9.149.187", to: "161.142.100.80", ports: [2794, 1766] }));
    expect(driver.take()).toBeUndefined();
    expect(driver.take(1)).toMatchObject({ hash: 0x51ccc178, mrq: 0x101 });
  });

  test("only what a port's addresses take", () => {
    const driver = looped();
    driver.write(reg.RCTL, reg.RCTL_EN | reg.RCTL_SECRC);
    const to = (address: string) => {
      const frame = packet();
      frame.set(Buffer.from(address, "hex"));
      driver.send(frame);
      return driver.take() !== undefined;
    };
    const own = Buffer.alloc(6);
    own.writeUInt32LE(driver.read(reg.RA));
    own.writeUInt16LE(driver.read(reg.RA + 4) & 0xffff, 4);
    expect([to("ffffffffffff"), to("020000000099"), to(own.toString("hex"))]).toEqual([false, false, true]);
  });
});

describe("what goes out", () => {
  test("checksums are filled in, and found right by the receiver", () => {
    const driver = looped();
    for (const [protocol, place] of [
      [6, 50],
      [17, 40],
    ] as const) {
      driver.descriptor((34n << 32n) | (BigInt(place) << 40n) | (14n | (24n << 8n)), 0x2000_0000, 0, false);
      driver.send(packet({ protocol }), { options: IXSM_TXSM });
      const { status } = driver.take()!;
      expect([status & 0x60, status >>> 29]).toEqual([0x60, 0]);
    }
  });

  test("a packet is cut whose length nobody has filled in, as Linux gives it", () => {
    const driver = looped();
    const long = packet({ payload: 1900, flags: 0x19 });
    long.writeUInt16BE(0, 16);
    driver.descriptor((34n << 32n) | (50n << 40n), 0x2000_0000 | TSE, (1000 << 16) | (54 << 8), false);
    driver.send(long, { command: DATA | TSE, options: IXSM_TXSM });
    const [first, last] = [driver.take()!, driver.take()!];
    expect([first.frame.length, last.frame.length]).toEqual([1054, 954]);
    expect([first.frame[47], last.frame[47]]).toEqual([0x10, 0x19]);
    expect([first.frame.readUInt16BE(16), last.frame.readUInt16BE(16)]).toEqual([1040, 940]);
    expect([first.status >>> 29, last.status >>> 29]).toEqual([0, 0]);
  });

  test("a tag is put in and taken out where CTRL.VME is set, and is a plain part of the frame elsewhere", () => {
    const driver = looped();
    driver.send(packet(), { command: DATA | VLE, options: 0x0123_0000 });
    expect(driver.take()!.frame).toEqual(packet());
    driver.write(reg.CTRL, driver.read(reg.CTRL) | reg.CTRL_VME);
    driver.send(packet(), { command: DATA | VLE, options: 0x0123_0000 });
    expect(driver.take()).toMatchObject({ frame: packet(), tag: 0x123 });
  });

  test("two rings go on side by side, and one that is not enabled does not", () => {
    const driver = looped();
    driver.write(reg.TX_QUEUES + reg.TARC, 3);
    driver.send(packet());
    expect(driver.take()).toBeUndefined();
    driver.write(reg.TX_QUEUES + reg.TARC, reg.TARC_ENABLE | 3);
    driver.write(reg.TCTL, driver.read(reg.TCTL));
    expect(driver.take()?.frame).toEqual(packet());
  });
});

describe("interrupts", () => {
  test("each cause has the vector that IVAR names, and EIAC clears it", () => {
    const driver = withVectors();
    driver.write(reg.IMS, reg.ICR_RXQ0 | reg.ICR_TXQ0 | reg.ICR_OTHER);
    driver.send(packet({ protocol: 17 }));
    expect(driver.bus.messages.sort()).toEqual([0, 2]);
    expect(driver.read(reg.ICS) & (reg.ICR_RXQ0 | reg.ICR_TXQ0)).toBe(0);
    driver.write(reg.ICS, reg.ICR_LSC);
    expect(driver.bus.messages.sort()).toEqual([0, 2, 3]);
  });

  test("an acknowledgement of TCP is one of the other causes, unless RFCTL has it otherwise", () => {
    const driver = withVectors();
    driver.write(reg.IMS, reg.ICR_OTHER);
    driver.write(reg.RFCTL, driver.read(reg.RFCTL) | reg.RFCTL_ACK_DIS);
    driver.send(packet());
    expect(driver.bus.messages).toEqual([]);
    driver.write(reg.RFCTL, driver.read(reg.RFCTL) & ~reg.RFCTL_ACK_DIS);
    driver.send(packet());
    expect(driver.bus.messages).toEqual([3]);
  });

  test("with EIAME a message masks its cause until the driver wants it again", () => {
    const driver = withVectors();
    driver.write(reg.CTRL_EXT, reg.CTRL_EXT_EIAME);
    driver.write(reg.IAM, 0xffff_ffff);
    driver.write(reg.IMS, reg.ICR_RXQ0);
    driver.send(packet({ protocol: 17 }));
    driver.send(packet({ protocol: 17 }));
    expect(driver.bus.messages).toEqual([0]);
    driver.write(reg.IMS, reg.ICR_RXQ0);
    expect(driver.bus.messages).toEqual([0, 0]);
  });

  test("a vector that is throttled sends one message for all that happens meanwhile", () => {
    const driver = withVectors();
    driver.write(reg.IMS, reg.ICR_RXQ0);
    driver.write(reg.EITR, 4000);
    for (let i = 0; i < 3; i++) driver.send(packet({ protocol: 17 }));
    expect(driver.bus.messages).toEqual([0]);
    driver.bus.clock.pass(2);
    expect(driver.bus.messages).toEqual([0, 0]);
    driver.bus.clock.pass(20);
    expect(driver.bus.messages).toEqual([0, 0]);
  });

  test("one message for all causes; reading ICR clears them", () => {
    const driver = looped();
    driver.write(reg.IMS, 0xffff_ffff);
    driver.read(reg.ICR);
    driver.bus.messages.length = 0;
    driver.send(packet({ protocol: 17 }));
    expect(driver.bus.messages.length).toBeGreaterThan(0);
    expect(driver.read(reg.ICR) & (reg.ICR_RXT0 | reg.ICR_TXDW)).toBe(reg.ICR_RXT0 | reg.ICR_TXDW);
    expect(driver.read(reg.ICR)).toBe(0);
  });

  test("the line is up as long as a cause is there that is not masked", () => {
    const bus = new TestBus();
    bus.messagesEnabled = false;
    const driver = looped("legacy", bus);
    driver.read(reg.ICR);
    driver.send(packet({ protocol: 17 }));
    expect(bus.line).toBe(false);
    driver.write(reg.IMS, reg.ICR_RXT0);
    expect(bus.line).toBe(true);
    driver.write(reg.ICR, reg.ICR_RXT0);
    expect(bus.line).toBe(false);
    driver.send(packet({ protocol: 17 }));
    driver.write(reg.CTRL, driver.read(reg.CTRL) | reg.CTRL_RST);
    expect(bus.line).toBe(false);
  });

  test("delays: what was sent and received is told when they are over, or with what cannot wait", () => {
    const driver = looped();
    driver.write(reg.RDTR, 1000);
    driver.write(reg.TIDV, 1000);
    driver.read(reg.ICR);
    driver.send(packet({ protocol: 17 }), { command: DATA | IDE });
    expect(driver.read(reg.ICS)).toBe(0);
    driver.bus.clock.pass(2);
    expect(driver.read(reg.ICR) & (reg.ICR_RXT0 | reg.ICR_TXDW)).toBe(reg.ICR_RXT0 | reg.ICR_TXDW);
    driver.send(packet({ protocol: 17 }), { command: DATA | IDE });
    driver.write(reg.RDTR, reg.DELAY_FLUSH | 1000);
    expect(driver.read(reg.ICR) & reg.ICR_RXT0).toBe(reg.ICR_RXT0);
  });
});

describe("the rest of the port", () => {
  test("an 82576 and an 82574 on one wire", () => {
    const [a, b] = [new TestBus(), new TestBus()];
    const devices = {
      "0000:01:00.0": makeCard(a, { link: "0000:02:00.0" }),
      "0000:02:00.0": makePort(b, {}, "0000:02:00.0"),
    };
    connectAll(devices);
    const card = new CardDriver(a, devices["0000:01:00.0"]);
    const port = new TestDriver(b, devices["0000:02:00.0"]);
    card.start();
    port.start();
    card.send(packet());
    expect(port.take()?.frame).toEqual(packet());
    port.send(packet({ payload: 10 }));
    expect(card.take()?.frame).toEqual(packet({ payload: 10 }));
    expect([card.read(GPTC), card.read(GPRC), card.read(GPTC)]).toEqual([1, 1, 0]);
  });

  test("the link is up after a reset, goes when the PHY negotiates, and comes back", () => {
    const driver = looped();
    driver.write(reg.MDIC, BMCR_RESTART);
    expect(driver.read(reg.STATUS) & reg.STATUS_LU).toBe(0);
    driver.read(reg.ICR);
    driver.bus.clock.pass(600);
    expect(driver.read(reg.STATUS) & reg.STATUS_LU).toBe(reg.STATUS_LU);
    expect(driver.read(reg.ICR) & reg.ICR_LSC).toBe(reg.ICR_LSC);
  });

  test("the PHY has pages", () => {
    const driver = looped();
    const phy = (command: number) => {
      driver.write(reg.MDIC, command);
      return driver.read(reg.MDIC);
    };
    const [WRITE, READ] = [0x0420_0000, 0x0820_0000];
    expect(phy(READ | (2 << 16)) & 0xffff).toBe(0x0141);
    expect(phy(READ | (16 << 16)) & 0xffff).toBe(0x3360);
    phy(WRITE | (22 << 16) | 2);
    expect(phy(READ | (16 << 16)) & 0xffff).toBe(0x0088);
    expect(phy(READ | (3 << 16)) & 0xffff).toBe(0x0cb1);
    phy(WRITE | (22 << 16) | 9);
    expect(phy(READ | (16 << 16)) >>> 30).toBe(1);
  });

  test("the EEPROM has the address and a checksum, and takes words", () => {
    const driver = looped();
    const word = (address: number) => {
      driver.write(reg.EERD, (address << 2) | reg.EERD_START);
      return driver.read(reg.EERD) >>> 16;
    };
    let sum = 0;
    for (let i = 0; i < 64; i++) sum += word(i);
    expect(sum & 0xffff).toBe(0xbaba);
    driver.write(reg.EEWR, (0x1234 << 16) | (8 << 2) | reg.EERD_START);
    expect([driver.read(reg.EEWR) & reg.EERD_DONE, word(8)]).toEqual([reg.EERD_DONE, 0x1234]);
  });

  test("a saved port goes on in another one, in the middle of a packet", () => {
    const here = looped();
    const frame = packet();
    here.bus.memory.set(frame, 0x10_0000);
    here.descriptor(0x10_0000n, DATA | 20, 0);
    here.write(reg.EEWR, (0x1234 << 16) | (8 << 2) | reg.EERD_START);
    const there = looped();
    const state = here.device.save();
    there.bus.memory.set(here.bus.memory);
    there.device.restore(state);
    there.device.resume();
    // the second half of the packet, in the ring's second place
    there.bus.memory.writeBigUInt64LE(0x10_0014n, 0x1010);
    there.bus.memory.writeUInt32LE((EOP_RS | DATA | (frame.length - 20)) >>> 0, 0x1018);
    there.write(reg.TX_QUEUES + reg.TAIL, 2);
    expect(there.take()?.frame).toEqual(frame);
    for (const length of [0, 100, state.bytes.length - 1])
      expect(() => there.device.restore({ version: 1, bytes: state.bytes.subarray(0, length) })).toThrow(
        SavedStateError,
      );
    expect(() => there.device.restore({ version: 9, bytes: state.bytes })).toThrow("version 9");
  });
});
