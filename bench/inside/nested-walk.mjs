// nested-walk.mjs HOST PAGES MAPPINGS COUNT ROUNDS: what a device's read of 8 bytes takes that goes through a guest's page table of four levels, nested on
// MAPPINGS mappings of the program's. The pages are random ones of PAGES: with many of them hardly one is in a TLB.
import { readFileSync } from "node:fs";
import { parseHost } from "../../dist/machine/parse-host.js";
import * as rfc from "../../dist/uapi/rfc-2017.js";
import { answer, Program, Random, timed } from "./model.mjs";

const [host, ...numbers] = process.argv.slice(2);
const [pages, mappings, count, rounds] = numbers.map(Number);
const PAGE = 4096;
const GPA = 0x100000;
const PASID = 7;
/** Pages of data, which the guest's pages go to in turn. */
const DATA = 512;
const PRESENT_WRITABLE_USER = 7n;

const program = new Program(parseHost(readFileSync(host, "utf8"), host));
const { file } = program.container(3);

const leaves = Math.ceil(pages / 512);
const middles = Math.ceil(leaves / 512);
const [middle, leaf, data] = [2, 2 + middles, 2 + middles + leaves];
const part = Math.ceil((data + DATA) / mappings) * PAGE;
const guest = program.flat(mappings * part);
const words = new BigUint64Array(guest.bytes.buffer);
/** An entry that leads to a page of the guest's memory. */
const entry = (page) => BigInt(GPA + page * PAGE) | PRESENT_WRITABLE_USER;
words[0] = entry(1);
for (let i = 0; i < middles; i++) words[512 + i] = entry(middle + i);
for (let i = 0; i < leaves; i++) words[512 * middle + i] = entry(leaf + i);
for (let i = 0; i < pages; i++) words[512 * leaf + i] = entry(data + (i % DATA));
for (let i = 0; i < mappings; i++) program.mapDma(file, GPA + i * part, guest.address + i * part, part);

const bind = rfc.IommuPageTableBind.encode({ model: 1, table: BigInt(GPA), pasid: PASID, addr_width: 48 });
const { size } = rfc.VfioIommuOperation;
const operation = rfc.VfioIommuOperation.encode({ argsz: size + bind.length, op: rfc.VFIO_IOMMU_OP_BIND_PAGE_TABLE });
program.bytes.set([...operation, ...bind]);
program.call(file, rfc.VFIO_IOMMU_OP);

const target = file.groups[0].port("0000:03:00.0").withPasid({ pasid: PASID, privileged: false, ats: false });
const random = new Random();
const word = new Uint8Array(8);
function reads() {
  for (let i = 0; i < count; i++)
    if (target.read(BigInt(random.below(pages)) << 12n, word)) throw new Error("a read failed");
}

reads();
const times = [];
for (let round = 0; round < rounds; round++) times.push(timed(reads) / count);
answer({ times });
