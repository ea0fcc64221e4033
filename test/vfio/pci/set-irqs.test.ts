import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KernelError } from "../../../src/kernel/errors.ts";
import type { EventFile } from "../../../src/kernel/model-event.ts";
import { DEVICES, DeviceProgram, intelHost } from "./device-program.ts";

const INTX = 0;
const MSI = 1;
const MSIX = 2;
const RAISE = 0x60;
const ACK = 0x64;

function taken(file: EventFile): number {
  try {
    return Number(file.take());
  } catch (error) {
    if (error instanceof KernelError && error.code === "EAGAIN") return 0;
    throw error;
  }
}

/** edu with memory and bus mastering on, and its registers mapped. */
function eduWithBar() {
  const program = new DeviceProgram("edu");
  program.setConfig(4, 2, 6);
  return { program, bar: program.mapRegion(0, 4096) };
}

describe("INTx", () => {
  test("fires once, masks itself, and fires again on unmask while the line is asserted", () => {
    const { program, bar } = eduWithBar();
    const { fd, file } = program.eventfd();
    expect(program.setIrqs(INTX, "trigger", "eventfd", 0, 1, [fd])).toBe(0);
    program.poke32(bar + RAISE, 1);
    program.poke32(bar + RAISE, 2);
    expect(taken(file)).toBe(1);
    expect(program.setIrqs(INTX, "unmask", "none", 0, 1)).toBe(0);
    expect(taken(file)).toBe(1);
    program.poke32(bar + ACK, 3);
    program.setIrqs(INTX, "unmask", "none", 0, 1);
    expect(taken(file)).toBe(0);
    program.poke32(bar + RAISE, 1);
    expect(taken(file)).toBe(1);
  });

  test("the disable bit of the command register masks like SET_IRQS", () => {
    const { program, bar } = eduWithBar();
    const { fd, file } = program.eventfd();
    program.setIrqs(INTX, "trigger", "eventfd", 0, 1, [fd]);
    program.setConfig(4, 2, 0x406);
    program.poke32(bar + RAISE, 1);
    expect(taken(file)).toBe(0);
    program.setConfig(4, 2, 0x006);
    expect(taken(file)).toBe(1);
  });

  test("an unmask eventfd unmasks when it is written to", () => {
    const { program, bar } = eduWithBar();
    const trigger = program.eventfd();
    const unmask = program.eventfd();
    program.setIrqs(INTX, "trigger", "eventfd", 0, 1, [trigger.fd]);
    expect(program.setIrqs(INTX, "unmask", "eventfd", 0, 1, [unmask.fd])).toBe(0);
    expect(program.setIrqs(INTX, "unmask", "eventfd", 0, 1, [unmask.fd])).toBe("EBUSY");
    program.poke32(bar + RAISE, 1);
    expect(taken(trigger.file)).toBe(1);
    program.poke32(bar + ACK, 1);
    unmask.file.add(1n);
    program.poke32(bar + RAISE, 1);
    expect(taken(trigger.file)).toBe(1);
    program.setIrqs(INTX, "unmask", "eventfd", 0, 1, [-1]);
    program.poke32(bar + ACK, 1);
    unmask.file.add(1n);
    program.poke32(bar + RAISE, 1);
    expect(taken(trigger.file)).toBe(0);
  });
});

describe("MSI", () => {
  test("every raise is counted, on the newest eventfd", () => {
    const { program, bar } = eduWithBar();
    const first = program.eventfd();
    const second = program.eventfd();
    program.setIrqs(MSI, "trigger", "eventfd", 0, 1, [first.fd]);
    for (let i = 0; i < 5; i++) program.poke32(bar + RAISE, 1);
    program.setIrqs(MSI, "trigger", "eventfd", 0, 1, [second.fd]);
    for (let i = 0; i < 3; i++) program.poke32(bar + RAISE, 1);
    expect([taken(first.file), taken(second.file)]).toEqual([5, 3]);
  });

  test("without bus mastering the message is lost, with a warning", () => {
    const warnings: string[] = [];
    const program = new DeviceProgram(
      "edu",
      intelHost((message) => warnings.push(message)),
    );
    program.setConfig(4, 2, 2);
    const bar = program.mapRegion(0, 4096);
    const { fd, file } = program.eventfd();
    program.setIrqs(MSI, "trigger", "eventfd", 0, 1, [fd]);
    program.poke32(bar + RAISE, 1);
    expect(taken(file)).toBe(0);
    expect(warnings.join()).toMatch(/0000:00:04.0.*bus mastering is off/);
  });
});

describe("the state machine of SET_IRQS", () => {
  const call = fc.record({
    index: fc.integer({ min: 0, max: 5 }),
    action: fc.constantFrom("mask" as const, "unmask" as const, "trigger" as const),
    data: fc.constantFrom("none" as const, "bool" as const, "eventfd" as const),
    start: mostly(0, fc.nat(5)),
    count: mostly(1, fc.nat(6)),
    values: fc.array(fc.integer({ min: -1, max: 3 }), { minLength: 1, maxLength: 6 }),
    intxDisable: fc.boolean(),
  });

  test("random calls: answers are values or errnos, one kind at a time, the device agrees, all is let go", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("edu" as const, "nic" as const),
        fc.array(call, { maxLength: 40, size: "max" }),
        (which, calls) => {
          const program = new DeviceProgram(which);
          const events = [program.eventfd(), program.eventfd(), program.eventfd(), program.eventfd()];
          const held = countReferences(events.map(({ file }) => file));
          const at = which === "edu" ? { msi: 0x42, msix: undefined } : { msi: 0xd2, msix: 0xa2 };
          // what must be on, followed from the answers alone
          let on: number | undefined;
          for (const { index, action, data, start, count, values, intxDisable } of calls) {
            const numbers = values.map((value) => (data === "eventfd" && value >= 0 ? events[value]!.fd : value));
            const result = program.setIrqs(index, action, data, start, count, numbers);
            expect(["EINVAL", "ENOTTY", "EBUSY", 0]).toContain(result);
            if (result === 0 && action === "trigger" && index <= MSIX) {
              if (data === "none" && count === 0) {
                expect(on).toBe(index);
                on = undefined;
              } else {
                expect(on ?? index).toBe(index);
                if (data !== "eventfd") expect(on).toBe(index);
                on = index;
              }
            }
            program.setConfig(4, 2, intxDisable ? 0x406 : 0x6);
            if (at.msix !== undefined) expect(program.config(at.msix, 2) >>> 15).toBe(on === MSIX ? 1 : 0);
            expect(program.config(4, 2)).toBe(intxDisable ? 0x406 : 0x6);
          }
          program.close(program.device);
          program.close(program.group);
          expect(held()).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  });

  test("a failure in the middle of a block takes away what was there", () => {
    const program = new DeviceProgram("nic");
    const first = program.eventfd();
    expect(program.setIrqs(MSIX, "trigger", "eventfd", 0, 2, [first.fd, first.fd])).toBe(0);
    expect(program.setIrqs(MSIX, "trigger", "eventfd", 0, 2, [first.fd, 999])).toBe("EBADF");
    expect(program.setIrqs(MSIX, "trigger", "none", 0, 2)).toBe(0);
    expect(taken(first.file)).toBe(0);
  });

  test("ERR and REQ keep one eventfd each, and give back the one that was there", () => {
    const program = new DeviceProgram("nic");
    const [first, second] = [program.eventfd(), program.eventfd()];
    const held = countReferences([first.file, second.file]);
    for (const index of [3, 4]) {
      program.setIrqs(index, "trigger", "eventfd", 0, 1, [first.fd]);
      program.setIrqs(index, "trigger", "eventfd", 0, 1, [second.fd]);
      expect(program.setIrqs(index, "trigger", "none", 0, 1)).toBe(0);
    }
    expect([taken(first.file), taken(second.file), held()]).toEqual([0, 2, 2]);
    program.close(program.device);
    expect(held()).toBe(0);
  });

  test("two programs' devices do not share interrupts", () => {
    const host = intelHost();
    const one = new DeviceProgram("edu", host);
    const other = new DeviceProgram("otherEdu", host);
    const event = one.eventfd();
    one.setIrqs(MSI, "trigger", "eventfd", 0, 1, [event.fd]);
    other.setConfig(4, 2, 6);
    other.pwrite(RAISE, Uint8Array.of(1, 0, 0, 0));
    expect(taken(event.file)).toBe(0);
    expect(DEVICES.edu.name).not.toBe(DEVICES.otherEdu.name);
  });
});

/** A value that makes requests which work, now and then another. */
function mostly<T>(usual: T, other: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: other });
}

/** References that are held to eventfds: taken and not given back. */
function countReferences(files: readonly EventFile[]): () => number {
  let count = 0;
  for (const file of files) {
    const take = file.event.bind(file);
    file.event = () => {
      count++;
      const event = take();
      return {
        ...event,
        release: () => {
          count--;
          event.release();
        },
      };
    };
  }
  return () => count;
}
