import { FileDescription } from "./file-description.ts";
import type { ModuleParameters } from "./module-parameters.ts";
import type { Task } from "./task.ts";
import type { Word } from "./word.ts";

/** What a file of sysfs is long, whatever is in it (fs/sysfs/file.c: PAGE_SIZE). Bytes. */
const SIZE = 4096;
const NUL = 0;

/** An open /sys/module/M/parameters/P. Each write is one value, wherever the position is (kernel/params.c:param_attr_store). */
export class ParameterFile extends FileDescription {
  override readonly kind = "parameter";
  override readonly label: string;
  readonly #parameters: ModuleParameters;
  readonly #name: string;
  readonly #changed: () => void;

  /**
   * @param name "vfio_iommu_type1/dma_entry_limit"
   * @param changed hears of each value that was taken
   */
  constructor(parameters: ModuleParameters, name: string, changed: () => void) {
    super();
    this.label = `module parameter ${name.replace("/", ".")}`;
    this.#parameters = parameters;
    this.#name = name;
    this.#changed = changed;
  }

  override get seekableSize(): number {
    return SIZE;
  }

  override read(task: Task, address: Word, count: number, offset: Word): number {
    const text = new TextEncoder().encode(this.#parameters.text(this.#name));
    const piece = text.subarray(Math.min(Number(offset), text.length)).subarray(0, count);
    task.memory.copyOut(address, piece, piece.length);
    return piece.length;
  }

  /** Throws EFAULT, EINVAL, ERANGE, EACCES: the value stays then. */
  override write(task: Task, address: Word, count: number): number {
    // what is more than a page is for another write (fs/kernfs/file.c:kernfs_fop_write_iter)
    const bytes = new Uint8Array(Math.min(count, SIZE));
    if (bytes.length === 0) return 0;
    task.memory.copyIn(address, bytes, bytes.length);
    const end = bytes.indexOf(NUL);
    const text = String.fromCharCode(...(end < 0 ? bytes : bytes.subarray(0, end)));
    this.#parameters.write(this.#name, text);
    this.#changed();
    return bytes.length;
  }
}
