import { fail } from "../kernel/errors.ts";
import type { IommufdContext } from "./context.ts";
import type { Ioas } from "./ioas.ts";
import { type AccessOptions, TableAccess } from "./memory/table-access.ts";
import { IommufdObject } from "./object-table.ts";

/**
 * Somebody of the kernel's own who uses the mappings of an address space without a page table (struct iommufd_access).
 * It has an id that no request takes. Its user ends it.
 */
export class AccessObject extends IommufdObject {
  readonly #context: IommufdContext;
  readonly #unmap: (iova: bigint, length: bigint) => void;
  readonly #options: AccessOptions;
  #attached: { readonly ioas: Ioas; readonly access: TableAccess } | undefined;

  /** @param unmap has its user give back all that it holds of a range; undefined for one that is never asked */
  constructor(
    context: IommufdContext,
    options: AccessOptions,
    unmap: (iova: bigint, length: bigint) => void = () => {},
  ) {
    super();
    this.#context = context;
    this.#options = options;
    this.#unmap = unmap;
    context.objects.add(this);
    this.users++;
    if (!options.locks) context.get();
  }

  get label(): string {
    return `access ${this.id}`;
  }

  /** ENOENT when it is attached to nothing. */
  get access(): TableAccess {
    return this.#attached?.access ?? fail("ENOENT", `${this.label} is attached to no address space`);
  }

  get ioas(): Ioas | undefined {
    return this.#attached?.ioas;
  }

  /**
   * Attaches it, or moves it: then its user gives back what it holds (device.c:iommufd_access_change_ioas). EADDRINUSE,
   * and then nothing has changed.
   */
  attach(ioas: Ioas): void {
    if (ioas === this.#attached?.ioas) return;
    const access = new TableAccess(ioas.table, this.#unmap, this.#options);
    this.#detach();
    ioas.users++;
    this.#attached = { ioas, access };
  }

  /** device.c:iommufd_access_destroy */
  end(): void {
    this.users--;
    this.#context.objects.destroy(this);
    if (!this.#options.locks) this.#context.put();
  }

  destroy(): void {
    this.#detach();
  }

  #detach(): void {
    if (!this.#attached) return;
    const { ioas, access } = this.#attached;
    access.close();
    ioas.users--;
    this.#attached = undefined;
  }
}
