import { Host } from "../../dist/host/host.js";
import { PROT_READ, PROT_WRITE } from "../../dist/kernel/model-areas.js";
import { FlatMemory } from "../../dist/kernel/model-pages.js";
import { ModelTask } from "../../dist/kernel/model-task.js";
import { readyMadeHost } from "../../dist/machine/ready-made-hosts.js";
import * as vfio from "../../dist/uapi/vfio.js";
import * as type1 from "../../dist/uapi/vfio-type1.js";

const RW = PROT_READ | PROT_WRITE;
const LIMIT = "vfio_iommu_type1/dma_entry_limit";
const HIGH = 2 ** 32;
/** Bytes for one structure. */
const STRUCTURE = 1024;

/**
 * A program in the model: raw structures in memory of its own, and file.ioctl() with their addresses. What lies between it and the model
 * is a DataView.
 */
export class Program {
  host;
  task;
  /** The page that its structures are in. */
  view;
  bytes;
  #structures;
  #mapPage;
  #unmapPage;

  /** @param host the name of a ready-made host, or a description */
  constructor(host = "lab", { limit } = {}) {
    const description = typeof host === "string" ? readyMadeHost(host) : host;
    this.host = new Host(description);
    this.task = new ModelTask({ pageSize: description.pageSize, memlock: Number.POSITIVE_INFINITY });
    if (limit !== undefined) this.host.parameters.write(LIMIT, String(limit));
    const flat = this.flat(description.pageSize);
    this.#structures = flat.address;
    this.bytes = flat.bytes;
    this.view = new DataView(flat.bytes.buffer);
    this.#mapPage = this.#structures + STRUCTURE;
    this.#unmapPage = this.#structures + 2 * STRUCTURE;
  }

  /** Memory of the program that JavaScript sees as well. */
  flat(length) {
    const bytes = new Uint8Array(length);
    const object = new FlatMemory(this.task.memory.pageSize, bytes);
    return { bytes, address: this.map(length, { object }) };
  }

  /** @returns its address */
  map(length, options = {}) {
    return this.task.memory.mmap({ length, protection: RW, shared: options.object !== undefined, ...options });
  }

  open(path) {
    return this.task.files.install(this.host.open(this.task, path, 2), false);
  }

  file(fd) {
    return this.task.files.get(fd);
  }

  /** A container with the group in it, and its IOMMU. */
  container(group, type = vfio.VFIO_TYPE1v2_IOMMU) {
    const fd = this.open("/dev/vfio/vfio");
    const members = [group].flat().map((each) => this.open(`/dev/vfio/${each}`));
    for (const member of members) this.setContainer(member, fd);
    this.call(this.file(fd), vfio.VFIO_SET_IOMMU, type);
    return { fd, file: this.file(fd), members };
  }

  setContainer(group, container) {
    this.view.setInt32(0, container, true);
    this.call(this.file(group), vfio.VFIO_GROUP_SET_CONTAINER, this.#structures);
  }

  call(file, request, arg = this.#structures) {
    const result = file.ioctl(this.task, request, arg);
    if (result < 0) throw new Error(`request ${request.toString(16)}: ${result}`);
    return result;
  }

  /** Writes a 64-bit field of the structure from a number. */
  set64(at, value) {
    const high = Math.floor(value / HIGH);
    this.view.setUint32(at, value - high * HIGH, true);
    this.view.setUint32(at + 4, high, true);
  }

  mapDma(file, iova, vaddr, size, flags = 3) {
    const { view } = this;
    view.setUint32(0, 32, true);
    view.setUint32(4, flags, true);
    this.set64(8, vaddr);
    this.set64(16, iova);
    this.set64(24, size);
    if (file.ioctl(this.task, type1.VFIO_IOMMU_MAP_DMA, this.#structures) !== 0) throw new Error("MAP_DMA");
  }

  unmapDma(file, iova, size, flags = 0) {
    const { view } = this;
    view.setUint32(0, 24, true);
    view.setUint32(4, flags, true);
    this.set64(8, iova);
    this.set64(16, size);
    if (file.ioctl(this.task, type1.VFIO_IOMMU_UNMAP_DMA, this.#structures) !== 0) throw new Error("UNMAP_DMA");
  }

  /** MAP_DMA of one page of 4 KiB to the page that preparePages() has named, by page number: what passes such a number on allocates nothing. */
  mapPage(file, page) {
    const { view } = this;
    view.setUint32(STRUCTURE + 16, page << 12, true);
    view.setUint32(STRUCTURE + 20, page >>> 20, true);
    if (file.ioctl(this.task, type1.VFIO_IOMMU_MAP_DMA, this.#mapPage) !== 0) throw new Error("MAP_DMA");
  }

  unmapPage(file, page) {
    const { view } = this;
    view.setUint32(2 * STRUCTURE + 8, page << 12, true);
    view.setUint32(2 * STRUCTURE + 12, page >>> 20, true);
    // an unmap that found nothing has left 0 there
    view.setUint32(2 * STRUCTURE + 16, 4096, true);
    if (file.ioctl(this.task, type1.VFIO_IOMMU_UNMAP_DMA, this.#unmapPage) !== 0) throw new Error("UNMAP_DMA");
  }

  /** What the structures of mapPage() and unmapPage() keep. */
  preparePages(vaddr) {
    this.view.setUint32(STRUCTURE, 32, true);
    this.view.setUint32(STRUCTURE + 4, 3, true);
    this.set64(STRUCTURE + 8, vaddr);
    this.set64(STRUCTURE + 24, 4096);
    this.view.setUint32(2 * STRUCTURE, 24, true);
    this.set64(2 * STRUCTURE + 16, 4096);
  }

  getInfo(file) {
    this.view.setUint32(0, 512, true);
    this.call(file, type1.VFIO_IOMMU_GET_INFO);
  }
}

/** A sequence that is the same in every run (xorshift32). */
export class Random {
  #state = 2463534242;

  /** 32 bits. */
  next() {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  /** Below `limit`, which is at most 2^32. */
  below(limit) {
    return Math.floor((this.next() / HIGH) * limit);
  }
}

/** Nanoseconds that a function takes. */
export function timed(body) {
  const start = process.hrtime.bigint();
  body();
  return Number(process.hrtime.bigint() - start);
}

/** The results of a script are one line of JSON. */
export function answer(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
