import { expect, test } from "vitest";
import type { DeviceBus } from "../../src/devices/device-model.ts";
import type { RemoteDevice } from "../../src/devices/kinds/vfio-user/remote-device.ts";
import { RemoteDma } from "../../src/devices/kinds/vfio-user/remote-dma.ts";
import { commandName } from "../../src/vfio-user/commands.ts";

/** What a server is told of mappings, in words. */
function told() {
  const lines: string[] = [];
  const remote = {
    reason: undefined,
    abilities: { maxDmaMaps: 8 },
    attempt: (action: () => unknown) => action(),
    ask: (number: number, [body]: readonly Buffer[]) => {
      const at = number === 2 ? 16 : 8;
      lines.push(`${commandName(number)} ${Buffer.from(body!).readBigUInt64LE(at).toString(16)}`);
      return Buffer.alloc(0);
    },
  } as unknown as RemoteDevice;
  const dma = new RemoteDma({} as DeviceBus, remote);
  const map = (iova: bigint) => dma.mapped({ iova, size: 0x1000n, read: true, write: true, handOver: () => undefined });
  return { dma, map, take: () => lines.splice(0) };
}

test("a server whose device rests is told of mappings when it goes on", () => {
  const { dma, map, take } = told();
  map(0x1000n);
  map(0x2000n);
  expect(take()).toEqual(["DMA_MAP 1000", "DMA_MAP 2000"]);
  dma.hold();
  map(0x3000n);
  dma.unmapped(0x1000n);
  map(0x4000n);
  dma.unmapped(0x4000n);
  expect(take()).toEqual([]);
  dma.goOn();
  expect(take()).toEqual(["DMA_UNMAP 1000", "DMA_MAP 3000"]);
  dma.unmapped(0x3000n);
  expect(take()).toEqual(["DMA_UNMAP 3000"]);
});

test("what is mapped anew where the server knows another mapping is told after that is gone", () => {
  const { dma, map, take } = told();
  map(0x1000n);
  take();
  dma.hold();
  dma.unmapped(0x1000n);
  map(0x1000n);
  expect(take()).toEqual([]);
  dma.goOn();
  expect(take()).toEqual(["DMA_UNMAP 1000", "DMA_MAP 1000"]);
  dma.hold();
  dma.cleared();
  dma.goOn();
  expect(take()).toEqual(["DMA_UNMAP 1000"]);
});
