import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  CapabilityChainError,
  type CapabilityStructure,
  encodeCapabilityChain,
  parseCapabilityChain,
} from "../../src/uapi/capability-chain.ts";
import { VfioIommuType1Info } from "../../src/uapi/vfio-type1.ts";

const BASE = VfioIommuType1Info.size;

function withInfo(chain: Uint8Array): Uint8Array {
  const info = new Uint8Array(BASE + chain.length);
  info.set(chain, BASE);
  return info;
}

/** A structure without its header. */
function withBody(id: number, version: number, body: Uint8Array): CapabilityStructure {
  const structure = new Uint8Array(8 + body.length);
  structure.set(body, 8);
  return { id, version, structure };
}

const capability = fc.record({
  id: fc.integer({ min: 0, max: 0xffff }),
  version: fc.integer({ min: 0, max: 0xffff }),
  body: fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 10 }).map((words) => {
    const body = new Uint8Array(words.length * 4);
    for (const [i, word] of words.entries()) body.fill(word, i * 4, i * 4 + 4);
    return body;
  }),
});

describe("capability chains", () => {
  it("come back as they were encoded, but for padding", () => {
    fc.assert(
      fc.property(fc.array(capability, { minLength: 1, maxLength: 8 }), fc.boolean(), (capabilities, padTo8) => {
        const structures = capabilities.map(({ id, version, body }) => withBody(id, version, body));
        const found = parseCapabilityChain(withInfo(encodeCapabilityChain(BASE, structures, padTo8)), BASE, BASE);
        expect(found.map(({ id, version }) => ({ id, version }))).toEqual(
          capabilities.map(({ id, version }) => ({ id, version })),
        );
        found.forEach(({ body, offset }, i) => {
          const wanted = capabilities[i]!.body;
          expect(body.subarray(0, wanted.length)).toEqual(wanted);
          expect(body.subarray(wanted.length).every((byte) => byte === 0)).toBe(true);
          expect(body.length).toBe(padTo8 ? Math.ceil(wanted.length / 8) * 8 : wanted.length);
          if (padTo8) expect(offset % 8).toBe(0);
        });
        expect(found.at(-1)!.next).toBe(0);
      }),
    );
  });

  it("have the bytes of the iova-list mail", () => {
    const ranges = "0000000000000000ffffdffe00000000" + "0000f0fe00000000ffffffffffffff01";
    const body = new Uint8Array(Buffer.from(`0200000000000000${ranges}`, "hex"));
    const chain = encodeCapabilityChain(BASE, [withBody(1, 1, body)], true);
    expect(chain).toHaveLength(0x48 - 0x18);
    expect(Buffer.from(chain.subarray(0, 8)).toString("hex")).toBe("0100010000000000");
  });

  it("leave what follows DMA_AVAIL at offset 68 without padding, at 72 with it (6.6)", () => {
    const capabilities = [
      withBody(2, 1, new Uint8Array(24)),
      withBody(3, 1, new Uint8Array(4)),
      withBody(1, 1, new Uint8Array(24)),
    ];
    const offsets = (padTo8: boolean) =>
      parseCapabilityChain(withInfo(encodeCapabilityChain(BASE, capabilities, padTo8)), BASE, BASE).map(
        (c) => c.offset,
      );
    expect(offsets(false)).toEqual([24, 56, 68]);
    expect(offsets(true)).toEqual([24, 56, 72]);
  });

  it("are empty when the offset is 0", () => {
    expect(parseCapabilityChain(new Uint8Array(BASE), 0, BASE)).toEqual([]);
  });

  it.each([
    ["into the info structure", 8, "lies in the 24 bytes"],
    ["behind the end", 4096, "has no room for a header"],
    ["so near the end that no header fits", BASE + 60, "has no room for a header"],
    ["between two words", BASE + 10, "is not aligned"],
    ["to itself", BASE, "the chain is a loop"],
  ])("are refused when they point %s", (_where, next, message) => {
    const info = new Uint8Array(BASE + 64);
    new DataView(info.buffer).setUint32(BASE + 4, next, true);
    expect(() => parseCapabilityChain(info, BASE, BASE)).toThrow(CapabilityChainError);
    expect(() => parseCapabilityChain(info, BASE, BASE)).toThrow(message);
  });

  it("never do anything but parse or be refused, whatever the bytes", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: BASE, maxLength: 128 }),
        fc.integer({ min: 0, max: 140 }),
        (info, first) => {
          try {
            for (const { body, offset } of parseCapabilityChain(info, first, BASE)) {
              expect(offset + 8 + body.length).toBeLessThanOrEqual(info.length);
            }
          } catch (error) {
            expect(error).toBeInstanceOf(CapabilityChainError);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
