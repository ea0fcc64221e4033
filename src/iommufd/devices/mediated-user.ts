import type { Task } from "../../kernel/task.ts";
import type { IommufdContext } from "../context.ts";
import { Ioas } from "../ioas.ts";
import { IommufdObject } from "../object-table.ts";
import type { Binding } from "./bind-device.ts";

/** A mediated device whose driver uses mappings itself (struct iommufd_access). */
export class MediatedUser extends IommufdObject implements Binding {
  readonly #context: IommufdContext;
  readonly #name: string;
  #ioas: Ioas | undefined;

  constructor(context: IommufdContext, name: string) {
    super();
    this.#context = context;
    this.#name = name;
    context.get();
    context.objects.add(this);
    this.users++;
  }

  get label(): string {
    return `mediated device ${this.#name}`;
  }

  /** device.c:iommufd_access_change_ioas. ENOENT for anything but an address space, EADDRINUSE. */
  attach(_task: Task, id: number): number {
    const next = this.#context.objects.find(id, Ioas, "ioas");
    if (next === this.#ioas) return id;
    next.table.addAccess(this);
    next.users++;
    this.detach();
    this.#ioas = next;
    return id;
  }

  detach(): void {
    if (!this.#ioas) return;
    this.#ioas.table.removeAccess(this);
    this.#ioas.users--;
    this.#ioas = undefined;
  }

  unbind(): void {
    this.detach();
    this.users--;
    this.#context.objects.destroy(this);
    this.#context.put();
  }

  destroy(): void {}
}
