// invalidation.mjs HOST FORM COUNT ROUNDS: what a guest's invalidations of single pages take, each of them an IOTLB and a device-TLB descriptor in the
// guest's queue. FORM is fields (one request each, generic), single (one request for each descriptor) or list (as many descriptors as a request takes).
import { readFileSync } from "node:fs";
import { parseHost } from "../../dist/machine/parse-host.js";
import { encodeDescriptor } from "../../dist/uapi/intel-invalidation.js";
import * as rfc from "../../dist/uapi/rfc-2017.js";
import { answer, Program, timed } from "./model.mjs";

const [host, form, ...numbers] = process.argv.slice(2);
const [count, rounds] = numbers.map(Number);
const PAGE = 4096;
const PAGES = 512;
const GPA = 0x100000;
const PASID = 7;
const SOURCE = 0x300;
const LIST = 16;

const program = new Program(parseHost(readFileSync(host, "utf8"), host));
const { file } = program.container(3);

// four levels of tables in pages 0 to 3, then the pages that the last of them maps
const guest = program.flat((4 + PAGES) * PAGE);
const words = new BigUint64Array(guest.bytes.buffer);
for (let level = 0; level < 3; level++) words[level * 512] = BigInt(GPA + (level + 1) * PAGE) | 7n;
for (let page = 0; page < PAGES; page++) words[3 * 512 + page] = BigInt(GPA + (4 + page) * PAGE) | 7n;
program.mapDma(file, GPA, guest.address, guest.bytes.length);

const { IommuTlbInvalidate: Invalidate, VfioIommuOperation: Operation } = rfc;
/** Puts a request where program.call() takes it from. */
function put(bytes) {
  program.bytes.set(bytes);
}
function operation(op, fixed, vendor = new Uint8Array(0)) {
  const argsz = Operation.size + fixed.length + vendor.length;
  return Uint8Array.from([...Operation.encode({ argsz, op }), ...fixed, ...vendor]);
}
const bind = rfc.IommuPageTableBind.encode({ model: 1, table: BigInt(GPA), pasid: PASID, addr_width: 48 });
put(operation(rfc.VFIO_IOMMU_OP_BIND_PAGE_TABLE, bind));
program.call(file, rfc.VFIO_IOMMU_OP);

function byDescriptors(descriptors) {
  const vendor = Uint8Array.from(descriptors.flatMap((each) => [...rfc.IntelIommuInvalidateData.encode(each)]));
  const fixed = { model: 1, flags: rfc.IOMMU_INVALIDATE_VENDOR, length: vendor.length };
  return operation(rfc.VFIO_IOMMU_OP_INVALIDATE, Invalidate.encode(fixed), vendor);
}
function descriptorsOf(page) {
  return [
    encodeDescriptor("pasidIotlb", { granularity: 3, domain: 1, pasid: PASID, address: page, leafHint: 1 }),
    encodeDescriptor("pasidDeviceTlb", { sourceId: SOURCE, pasid: PASID, address: page }),
  ];
}
function byFields(page) {
  const scope = rfc.IOMMU_INVALIDATE_PASID | rfc.IOMMU_INVALIDATE_VADDR;
  const flags = rfc.IOMMU_INVALIDATE_VADDR_LEAF;
  const fixed = { model: 1, scope, flags, pasid: PASID, vaddr: BigInt(page * PAGE), size: BigInt(PAGE) };
  return operation(rfc.VFIO_IOMMU_OP_INVALIDATE, Invalidate.encode(fixed));
}

const pages = Array.from({ length: count }, (_, i) => i % PAGES);
const FORMS = {
  fields: () => pages.map(byFields),
  single: () => pages.flatMap((page) => descriptorsOf(page).map((each) => byDescriptors([each]))),
  list: () => {
    const all = pages.flatMap(descriptorsOf);
    const parts = Array.from({ length: Math.ceil(all.length / LIST) }, (_, i) => all.slice(i * LIST, (i + 1) * LIST));
    return parts.map(byDescriptors);
  },
};
const requests = FORMS[form]();

const target = file.groups[0].port("0000:03:00.0").withPasid({ pasid: PASID, privileged: false, ats: true });
const word = new Uint8Array(8);
/** The device has used every page, so that both TLBs know them. */
function warm() {
  for (let page = 0; page < PAGES; page++) target.read(BigInt(page * PAGE), word);
}

const times = [];
for (let round = 0; round < rounds; round++) {
  warm();
  const whole = timed(() => {
    for (const request of requests) {
      put(request);
      program.call(file, rfc.VFIO_IOMMU_OP);
    }
  });
  times.push(whole / count);
}
const bytes = requests.reduce((sum, { length }) => sum + length, 0) / count;
answer({ times, calls: requests.length / count, bytes });
