// areas.mjs KIND LIVE PAIRS ROUNDS: LIVE mappings of a page are made at rising addresses, PAIRS times one of them is taken away and another
// one made at a random place, and then all go by one call. In nanoseconds for a call, of the last for a mapping; and bytes for a mapping.
// KIND is type1, ioas (iommufd with a device attached), bytes (an address space of iommufd without devices, and mappings that neither begin
// nor end with a page) or choice (as ioas, and the kernel chooses where).
import { readyMadeHost } from "../../dist/machine/ready-made-hosts.js";
import * as iommufd from "../../dist/uapi/iommufd.js";
import * as cdev from "../../dist/uapi/vfio-cdev.js";
import { answer, Program, Random, timed } from "./model.mjs";

const PAGE = 4096;
const HIGH = 2 ** 32;
/** In 39 bits, and out of the way of the window for messages. */
const FIRST = 0x1_0000_0000;
/** Of mappings that are no pages: where one begins in its page, and its bytes. */
const ODD = { offset: 0x123, length: 0xabc };
const UNMAP_ALL = 2;
/** Where the two structures are in their page. */
const MAP = 0;
const UNMAP = 64;

/** The same calls of both kinds. */
class Type1 extends Program {
  constructor() {
    super("lab", { limit: 0xffffffff });
    this.container = this.container(1).file;
    this.preparePages(this.map(PAGE));
  }

  mapAt(address) {
    this.mapPage(this.container, address / PAGE);
  }

  unmapAt(address) {
    this.unmapPage(this.container, address / PAGE);
  }

  unmapAll() {
    this.unmapDma(this.container, 0, 0, UNMAP_ALL);
    return Number(this.view.getBigUint64(16, true)) / PAGE;
  }
}

class Ioas extends Program {
  constructor({ attached, chosen, odd }) {
    super({ ...readyMadeHost("lab"), kernel: "7.2", iommufd: true });
    this.length = odd ? ODD.length : PAGE;
    this.offset = odd ? ODD.offset : 0;
    const iommu = this.open("/dev/iommu");
    this.iommufd = this.file(iommu);
    this.view.setUint32(0, iommufd.IommuIoasAlloc.size, true);
    this.call(this.iommufd, iommufd.IOMMU_IOAS_ALLOC);
    const ioas = this.view.getUint32(8, true);
    if (attached) {
      const device = this.file(this.open("/dev/vfio/devices/vfio0"));
      this.#request(device, cdev.VFIO_DEVICE_BIND_IOMMUFD, cdev.VfioDeviceBindIommufd, { iommufd: iommu });
      this.#request(device, cdev.VFIO_DEVICE_ATTACH_IOMMUFD_PT, cdev.VfioDeviceAttachIommufdPt, { pt_id: ioas });
    }
    const { bytes, address } = this.flat(PAGE);
    this.own = new DataView(bytes.buffer);
    this.address = address;
    this.own.setUint32(MAP, iommufd.IommuIoasMap.size, true);
    this.own.setUint32(MAP + 4, chosen ? 6 : 7, true);
    this.own.setUint32(MAP + 8, ioas, true);
    this.#set64(MAP + 16, this.map(2 * PAGE) + this.offset);
    this.#set64(MAP + 24, this.length);
    this.own.setUint32(UNMAP, iommufd.IommuIoasUnmap.size, true);
    this.own.setUint32(UNMAP + 4, ioas, true);
  }

  #set64(at, value) {
    const high = Math.floor(value / HIGH);
    this.own.setUint32(at, value - high * HIGH, true);
    this.own.setUint32(at + 4, high, true);
  }

  #request(file, request, layout, fields) {
    this.bytes.set(layout.encode({ argsz: layout.size, ...fields }));
    this.call(file, request);
  }

  /** Where it is: as asked for, or as the kernel chose. */
  mapAt(iova) {
    this.#set64(MAP + 32, iova + this.offset);
    this.call(this.iommufd, iommufd.IOMMU_IOAS_MAP, this.address + MAP);
  }

  get lastIova() {
    return this.own.getUint32(MAP + 32, true) + this.own.getUint32(MAP + 36, true) * HIGH;
  }

  unmapAt(iova) {
    this.#set64(UNMAP + 8, iova + this.offset);
    this.#set64(UNMAP + 16, this.length);
    this.call(this.iommufd, iommufd.IOMMU_IOAS_UNMAP, this.address + UNMAP);
  }

  unmapAll() {
    this.own.setBigUint64(UNMAP + 8, 0n, true);
    this.own.setBigUint64(UNMAP + 16, 2n ** 64n - 1n, true);
    this.call(this.iommufd, iommufd.IOMMU_IOAS_UNMAP, this.address + UNMAP);
    return Number(this.own.getBigUint64(UNMAP + 16, true)) / this.length;
  }
}

function bytesUsed() {
  global.gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

const [kind, ...numbers] = process.argv.slice(2);
const [live, pairs, rounds] = numbers.map(Number);
const chosen = kind === "choice";
const program =
  kind === "type1" ? new Type1() : new Ioas({ attached: kind !== "bytes", chosen, odd: kind === "bytes" });

const results = { make: [], pair: [], unmapAll: [], bytes: [] };
for (let round = 0; round < rounds; round++) {
  const random = new Random();
  // half of the places are taken: neighbours are not adjacent, unless the kernel chooses
  const where = new Float64Array(live);
  const free = Float64Array.from({ length: live }, (_, i) => FIRST + 2 * (live + i) * PAGE);
  const before = bytesUsed();
  const make = timed(() => {
    for (let i = 0; i < live; i++) {
      program.mapAt(FIRST + 2 * i * PAGE);
      where[i] = chosen ? program.lastIova : FIRST + 2 * i * PAGE;
    }
  });
  results.make.push(make / live);
  results.bytes.push((bytesUsed() - before) / live);
  const pair = timed(() => {
    for (let i = 0; i < pairs; i++) {
      const from = random.below(live);
      const to = random.below(live);
      const old = where[from];
      program.unmapAt(old);
      program.mapAt(free[to]);
      where[from] = chosen ? program.lastIova : free[to];
      free[to] = old;
    }
  });
  results.pair.push(pair / pairs);
  const all = timed(() => {
    if (program.unmapAll() !== live) throw new Error("not all unmapped");
  });
  results.unmapAll.push(all / live);
}
answer(results);
