import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import * as reg from "../../../src/devices/kinds/igb/registers.ts";
import { IgbVirtualFunction } from "../../../src/devices/kinds/igb/virtual-function.ts";
import { SavedStateError } from "../../../src/devices/saved-state.ts";
import { CaptureFile } from "../../../src/devices/wire/pcap.ts";
import { TestBus } from "../nvme/bench.ts";
import { connectAll, makePort, packet, TestDriver } from "./bench.ts";

const scratch = mkdtempSync(join(tmpdir(), "uvfio-igb-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Whether an interface can be made and switched on here. */
const mayTap = canTap();

function canTap(): boolean {
  if (process.getuid?.() !== 0 || !existsSync("/proc/net/if_inet6")) return false;
  try {
    execFileSync("ip", ["tuntap", "add", "uvfio-probe", "mode", "tap"], { stdio: "ignore" });
    execFileSync("ip", ["tuntap", "del", "uvfio-probe", "mode", "tap"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const IXSM_TXSM = 0x300;
const TSE = 0x8000_0000;
const VLE = 0x4000_0000;
const GPTC = 0x4080;
const GPRC = 0x4074;
const RUC = 0x40a4;

function looped(given: Readonly<Record<string, unknown>> = { loopback: true }): TestDriver {
  const bus = new TestBus();
  const driver = new TestDriver(bus, makePort(bus, given));
  driver.start();
  return driver;
}

function pair(): [TestDriver, TestDriver] {
  const [a, b] = [new TestBus(), new TestBus()];
  const devices = {
    "0000:01:00.0": makePort(a, { link: "0000:02:00.0" }),
    "0000:02:00.0": makePort(b, {}, "0000:02:00.0"),
  };
  connectAll(devices);
  const drivers: [TestDriver, TestDriver] = [
    new TestDriver(a, devices["0000:01:00.0"]),
    new TestDriver(b, devices["0000:02:00.0"]),
  ];
  for (const driver of drivers) driver.start();
  return drivers;
}

describe("wires", () => {
  test("a link joins two ports, both ways, and both count the same", () => {
    const [a, b] = pair();
    const frame = packet();
    a.send(frame);
    expect(b.take()?.frame).toEqual(frame);
    b.send(frame);
    expect(a.take()?.frame).toEqual(frame);
    expect([a.read(GPTC), b.read(GPRC), b.read(GPTC), a.read(GPRC)]).toEqual([1, 1, 1, 1]);
  });

  test("short frames are filled up on their way, so that nobody counts them as too short", () => {
    const [a, b] = pair();
    a.send(packet().subarray(0, 42));
    expect(b.take()?.frame).toHaveLength(60);
    expect(b.read(RUC)).toBe(0);
  });

  test("frames wait for descriptors, and none is lost", () => {
    const [a, b] = pair();
    for (let i = 0; i < 40; i++) a.send(packet({ ports: [i, i] }));
    const ports = [];
    for (let taken = b.take(); taken; taken = b.take()) ports.push(taken.frame.readUInt16BE(34));
    expect(ports).toEqual(Array.from({ length: 40 }, (_, i) => i));
  });

  test("a hub brings a frame to all others", () => {
    const buses = [new TestBus(), new TestBus(), new TestBus()];
    const names = ["0000:01:00.0", "0000:02:00.0", "0000:03:00.0"];
    const devices = Object.fromEntries(names.map((name, i) => [name, makePort(buses[i]!, { hub: "x" }, name)]));
    connectAll(devices);
    const drivers = names.map((name, i) => new TestDriver(buses[i]!, devices[name]!));
    for (const driver of drivers) driver.start();
    drivers[1]!.send(packet());
    expect(drivers.map((driver) => driver.take() !== undefined)).toEqual([true, false, true]);
  });

  test("what a port sends is in its capture file, and what another file has comes in", () => {
    const [sent, received] = [join(scratch, "sent.pcap"), join(scratch, "received.pcap")];
    const capture = new CaptureFile(received, () => 1500);
    capture.send(packet({ payload: 30 }));
    capture.send(packet({ payload: 31 }));
    capture.close();
    const driver = looped({ pcap: sent, receive: received });
    expect([driver.take(), driver.take(), driver.take()].map((taken) => taken?.frame.length)).toEqual([
      84,
      85,
      undefined,
    ]);
    driver.send(packet());
    const bytes = readFileSync(sent);
    expect(bytes.readUInt32LE(0)).toBe(0xa1b2c3d4);
    expect(bytes.subarray(24 + 16)).toEqual(packet());
  });

  test("two sockets, one frame a datagram", async () => {
    const [a, b] = ["a", "b"].map((name) => join(scratch, name));
    const [left, right] = [looped({ socket: a, peer: b }), looped({ socket: b, peer: a })];
    left.send(packet());
    let taken: ReturnType<TestDriver["take"]>;
    for (let i = 0; i < 100 && !taken; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      taken = right.take();
    }
    expect(taken?.frame).toEqual(packet());
  });

  test.skipIf(!mayTap)("a tap interface: what the port sends comes in there, and the other way round", async () => {
    const driver = looped({ tap: "uvfio-test" });
    execFileSync("ip", ["link", "set", "uvfio-test", "up"]);
    driver.send(packet());
    const received = () => Number(readFileSync("/sys/class/net/uvfio-test/statistics/rx_packets", "latin1"));
    expect(received()).toBe(1);
    // the kernel looks for IPv6 neighbours and multicast listeners by itself
    let taken: ReturnType<TestDriver["take"]>;
    for (let i = 0; i < 500 && !taken; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      taken = driver.take();
    }
    expect(taken?.frame.subarray(0, 2).toString("hex")).toBe("3333");
  });

  test.each<[string, Record<string, unknown>, RegExp]>([
    ["two wires", { link: "0000:02:00.0", loopback: true }, /^loopback: not with link: a port has one wire$/],
    ["an address of a group", { mac: "01:00:00:00:00:01" }, /^mac: not the address of a port/],
    ["half a wire", { socket: "/tmp/x" }, /^socket: a wire of sockets has two ends/],
    ["a path that no socket has", { socket: "x".repeat(200), peer: "y" }, /^socket: has more than 107 bytes/],
    ["a name that no interface has", { tap: "a/b" }, /^tap: not the name of an interface/],
    ["a folder that is not there", { pcap: "/nowhere/x.pcap" }, /\/nowhere\/x.pcap: cannot be written: ENOENT$/],
    ["a capture that is not there", { receive: "/nowhere/x.pcap" }, /\/nowhere\/x.pcap: cannot be read: ENOENT$/],
    ["a socket in no folder", { socket: "/nowhere/s", peer: "/nowhere/t" }, /\/nowhere\/s: cannot be made: ENOENT$/],
  ])("one line for %s", (_, given, message) => {
    expect(() => makePort(new TestBus(), given)).toThrow(message);
  });

  test("one line for a link to what is no port, and for a file that is no capture", () => {
    expect(() => connectAll({ a: makePort(new TestBus(), { link: "0000:09:00.0" }) })).toThrow(
      "0000:09:00.0 is no port of this host's (model igb or e1000e)",
    );
    const file = join(scratch, "text");
    writeFileSync(file, "this is a text that is long enough");
    expect(() => makePort(new TestBus(), { receive: file })).toThrow(/no pcap file/);
  });
});

describe("what is done to packets", () => {
  test("checksums are filled in, and found right by the receiver", () => {
    const driver = looped();
    for (const protocol of [6, 17]) {
      driver.send(packet({ protocol }), { options: IXSM_TXSM });
      const taken = driver.take()!;
      // IPCS and L4CS, no errors
      expect([taken.status & 0x60, taken.status >>> 29]).toEqual([0x60, 0]);
    }
    const wrong = packet();
    wrong[24] = 1;
    driver.send(wrong);
    expect(driver.take()!.status >>> 29).toBe(3);
  });

  test("a long packet is cut; FIN and PSH are in the last segment only", () => {
    const driver = looped();
    driver.context({ mss: 1000 });
    driver.send(packet({ payload: 1900, flags: 0x19 }), { command: TSE });
    const [first, last] = [driver.take()!, driver.take()!];
    expect([first.frame.length, last.frame.length]).toEqual([1054, 954]);
    expect([first.frame[47], last.frame[47]]).toEqual([0x10, 0x19]);
    expect([first.frame.readUInt32BE(38), last.frame.readUInt32BE(38)]).toEqual([1, 1001]);
    expect([first.frame.readUInt16BE(18), last.frame.readUInt16BE(18)]).toEqual([0x1234, 0x1235]);
    expect([first.status >>> 29, last.status >>> 29]).toEqual([0, 0]);
    expect(Buffer.concat([first.frame.subarray(54), last.frame.subarray(54)])).toEqual(
      packet({ payload: 1900 }).subarray(54),
    );
  });

  test("a packet is cut whose length nobody has filled in, as Linux gives it", () => {
    const driver = looped();
    const long = packet({ payload: 1900 });
    long.writeUInt16BE(0, 16);
    driver.context({ mss: 1000 });
    driver.send(long, { command: TSE });
    const [first, last] = [driver.take()!, driver.take()!];
    expect([first.frame.readUInt16BE(16), last.frame.readUInt16BE(16)]).toEqual([1040, 940]);
    expect([first.status >>> 29, last.status >>> 29]).toEqual([0, 0]);
  });

  test("descriptors are read ahead, but not over what a program does", () => {
    const driver = looped();
    driver.send(packet());
    expect(driver.take()?.frame).toEqual(packet());
    // the next receive descriptor has another buffer now, and the tail says nothing new
    driver.bus.memory.writeBigUInt64LE(0x30_0000n, 0x2000 + 16);
    driver.send(packet({ payload: 40 }));
    expect(driver.bus.memory.subarray(0x30_0000, 0x30_0000 + 94)).toEqual(packet({ payload: 40 }));
  });

  test("a tag is put in and taken out", () => {
    const driver = looped();
    driver.context({ tag: 0x123 });
    driver.send(packet(), { command: VLE });
    expect(driver.take()!.frame.subarray(12, 16).toString("hex")).toBe("81000123");
    driver.write(reg.CTRL, driver.read(reg.CTRL) | reg.CTRL_VME);
    driver.send(packet(), { command: VLE });
    const taken = driver.take()!;
    expect([taken.frame.equals(packet()), taken.status & 8]).toEqual([true, 8]);
  });

  test("a legacy descriptor's checksum is of what it says, and its tag is its own", () => {
    const driver = looped();
    const frame = packet({ protocol: 17 });
    driver.bus.memory.set(frame, 0x10_0000);
    // IC, EOP, RS; CSO at UDP's checksum, CSS at its header
    driver.descriptor(0x10_0000n, 0x0d00_0000 | (40 << 16) | frame.length, 34 << 8);
    const taken = driver.take()!;
    let sum = 0;
    for (let i = 34; i < taken.frame.length; i += 2) sum += taken.frame.readUInt16BE(i);
    while (sum > 0xffff) sum = (sum >>> 16) + (sum & 0xffff);
    expect(sum).toBe(0xffff);
  });

  test("a buffer may cross pages", () => {
    const driver = looped();
    driver.send(packet(), { at: 0x10_0fd0 });
    expect(driver.take()?.frame).toEqual(packet());
  });

  test("RSS has the hashes of the specification's examples", () => {
    const key = "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa".match(/../g)!;
    const driver = looped();
    for (let i = 0; i < 10; i++)
      driver.write(
        reg.RSSRK + 4 * i,
        Number.parseInt(
          key
            .slice(4 * i, 4 * i + 4)
            .reverse()
            .join(""),
          16,
        ),
      );
    driver.write(reg.RXCSUM, reg.RXCSUM_PCSD);
    driver.write(reg.MRQC, 2 | (1 << 16) | (1 << 17));
    driver.send(packet({ from: "66.9.149.187", to: "161.142.100.80", ports: [2794, 1766] }));
    expect(driver.take()).toMatchObject({ hash: 0x51ccc178, info: 0x111 });
    driver.send(packet({ protocol: 17, from: "66.9.149.187", to: "161.142.100.80" }));
    expect(driver.take()).toMatchObject({ hash: 0x323e8fc2, info: 0x212 });
  });
});

describe("work and time", () => {
  test("a packet of many segments goes on in pieces, a segment each; a reset ends it", () => {
    const [a, b] = pair();
    const { clock } = a.bus;
    clock.inSlices = true;
    const sendLong = () => {
      a.context({ mss: 1000 });
      a.send(packet({ payload: 60_000 }), { command: TSE });
    };
    const received = () => {
      let count = 0;
      while (b.take()) count++;
      return count;
    };
    sendLong();
    const atOnce = received();
    expect(atOnce).toBeGreaterThan(10);
    expect(atOnce).toBeLessThan(40);
    clock.runPieces(3);
    expect(received()).toBe(3);
    while (clock.isPending) clock.runPieces(1);
    expect(received()).toBe(57 - atOnce);
    sendLong();
    a.device.reset();
    expect(clock.isPending).toBe(false);
  });

  test("paused, it sends what it has begun and nothing more, until it goes on", () => {
    const [a, b] = pair();
    a.bus.clock.inSlices = true;
    a.context({ mss: 1000 });
    a.send(packet({ payload: 60_000 }), { command: TSE });
    const received = () => {
      let count = 0;
      while (b.take()) count++;
      return count;
    };
    const before = received();
    expect(before).toBeLessThan(60);
    a.device.pause();
    expect(a.bus.clock.isPending).toBe(false);
    while (b.bus.clock.isPending) b.bus.clock.runPieces(1);
    expect(before + received()).toBe(60);
    a.send(packet());
    b.send(packet());
    expect([received(), a.take()]).toEqual([0, undefined]);
    a.device.resume();
    expect([received(), a.take()?.frame.length]).toEqual([1, packet().length]);
  });

  test("a vector that is throttled sends one message for all that happens meanwhile", () => {
    const driver = looped();
    driver.write(reg.GPIE, reg.GPIE_MSIX);
    driver.write(reg.IVAR, 0x80);
    driver.write(reg.EIAC, 1);
    driver.write(reg.EIMS, 1);
    driver.write(reg.EITR, 4000);
    for (let i = 0; i < 5; i++) driver.send(packet());
    expect(driver.bus.messages).toEqual([0]);
    driver.bus.clock.pass(10);
    expect(driver.bus.messages).toEqual([0, 0]);
    driver.bus.clock.pass(10);
    expect(driver.bus.messages).toEqual([0, 0]);
  });

  test("a saved port goes on in another one", () => {
    const driver = looped();
    driver.context({ mss: 1000 });
    driver.send(packet(), { command: 0 });
    driver.take();
    const saved = driver.device.save();
    const bus = new TestBus();
    bus.memory.set(driver.bus.memory);
    const other = makePort(bus, { loopback: true });
    other.restore(saved);
    for (const offset of [reg.STATUS, reg.RCTL, reg.TX_QUEUES + reg.HEAD, reg.RX_QUEUES + reg.TAIL])
      expect(other.read(0, offset, 4)).toBe(driver.device.read(0, offset, 4));
    expect(other.save()).toEqual(saved);
    // it goes on when it is told to, with what was put into its ring meanwhile
    const going = new TestDriver(bus, other);
    other.write(0, reg.TX_QUEUES + reg.TAIL, 4, 3n);
    expect(going.read(reg.TX_QUEUES + reg.HEAD)).toBe(2);
    other.resume();
    expect(going.read(reg.TX_QUEUES + reg.HEAD)).toBe(3);
    other.restore(saved);
    expect(() => other.restore({ version: 2, bytes: saved.bytes })).toThrow(SavedStateError);
    expect(() => other.restore({ version: 1, bytes: saved.bytes.subarray(0, 1000) })).toThrow(SavedStateError);
    expect(other.save()).toEqual(saved);
  });
});

describe("virtual functions", () => {
  function withFunction() {
    const [bus, own] = [new TestBus(), new TestBus()];
    const physical = makePort(bus, { loopback: true });
    const virtual = new IgbVirtualFunction(own, { physical: "0000:01:00.0", index: 1 });
    physical.hasFunctions(2);
    connectAll({ "0000:01:00.0": physical, "0000:01:10.2": virtual });
    const driver = new TestDriver(bus, physical);
    driver.start();
    return { driver, virtual, own };
  }

  test("the mailbox is one memory, and each side hears of the other", () => {
    const { driver, virtual, own } = withFunction();
    driver.write(reg.VTIVAR_MISC + 4, 0x82);
    driver.write(reg.GPIE, reg.GPIE_MSIX);
    driver.write(reg.EIMS, 0x1ff_ffff);
    virtual.write(0, reg.VMBMEM, 4, 0x1234n);
    virtual.write(0, reg.V2PMAILBOX, 4, 1n);
    expect(driver.read(reg.VMBMEM + 0x40)).toBe(0x1234);
    expect(driver.read(reg.MBVFICR)).toBe(2);
    driver.write(reg.P2VMAILBOX + 4, 1);
    expect(own.messages).toEqual([2]);
    expect(Number(virtual.read(0, reg.V2PMAILBOX, 4)) & 0x10).toBe(0x10);
  });

  test("its packets are in its own memory", () => {
    const { driver, virtual, own } = withFunction();
    const frame = packet();
    own.memory.set(frame, 0x8000);
    own.memory.writeBigUInt64LE(0x8000n, 0x4000);
    own.memory.writeUInt32LE((0x2930_0000 | frame.length) >>> 0, 0x4008);
    for (const [offset, value] of [
      [0x3800, 0x4000],
      [0x3808, 128],
      [0x3828, reg.DCTL_ENABLE],
      [0x3818, 1],
    ])
      virtual.write(0, offset!, 4, BigInt(value!));
    expect(own.memory.readUInt32LE(0x400c) & 1).toBe(1);
    expect(driver.take()?.frame).toEqual(frame);
  });

  test("mapped registers are looked at in an order: causes are cleared before they are let through, tails come last", () => {
    const { driver } = withFunction();
    const offsets = driver.device.registers(0).map(({ offset }) => offset);
    const place = (offset: number) => offsets.indexOf(offset);
    const places = [reg.EICR, reg.EIMS, reg.EIMC, 0x2800, 0x2818, 0x3818].map(place);
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(new Set(offsets).size).toBe(offsets.length);
  });

  test("its reset stops its queues, and the physical function is told", () => {
    const { driver, virtual } = withFunction();
    virtual.write(0, 0x2828, 4, BigInt(reg.DCTL_ENABLE));
    virtual.reset();
    expect(driver.read(reg.VFLRE)).toBe(2);
    expect(driver.read(reg.RX_QUEUES + reg.QUEUE_STRIDE + reg.DCTL) & reg.DCTL_ENABLE).toBe(0);
    expect(driver.read(reg.STATUS) & reg.STATUS_IOV_MODE).toBe(reg.STATUS_IOV_MODE);
  });
});
