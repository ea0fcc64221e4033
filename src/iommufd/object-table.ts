import { fail } from "../kernel/errors.ts";
import { faultPoint } from "../kernel/fault-points.ts";
import { LowestIds } from "./lowest-ids.ts";

/** Something that a program knows by an id: an address space, a page table, a bound device (struct iommufd_object). */
export abstract class IommufdObject {
  /** Given when it enters the table; 0 before. */
  id = 0;
  /** Who needs it to stay: DESTROY is EBUSY while this is above 0. */
  users = 0;

  /** For messages: "ioas 1". */
  abstract get label(): string;

  /** It has left the table: gives back what it holds. */
  abstract destroy(): void;
}

/** A kind of object, for look-ups. */
type Kind<T extends IommufdObject> = abstract new (...args: never[]) => T;

/** xa_limit_31b */
const LAST_ID = 2 ** 31 - 1;

/** The objects of one iommufd by id. The lowest free id is given out first (xa_alloc() from 1 on). */
export class ObjectTable implements Iterable<IommufdObject> {
  readonly #objects = new Map<number, IommufdObject>();
  readonly #ids = new LowestIds();

  get isEmpty(): boolean {
    return this.#objects.size === 0;
  }

  /** In order of their ids. */
  *[Symbol.iterator](): Iterator<IommufdObject> {
    for (const id of [...this.#objects.keys()].sort((a, b) => a - b)) yield this.#objects.get(id)!;
  }

  /** ENOMEM, EBUSY; then nothing has changed. */
  add(object: IommufdObject): void {
    faultPoint("failslab");
    if (this.#ids.lowest > LAST_ID) fail("EBUSY", "all ids are in use");
    object.id = this.#ids.take();
    this.#objects.set(object.id, object);
  }

  /** Takes an object out that could not be finished; it is not destroyed. */
  remove(object: IommufdObject): void {
    if (this.#objects.get(object.id) !== object) return;
    this.#objects.delete(object.id);
    this.#ids.give(object.id);
  }

  /**
   * Takes an object out for good and destroys it: as long as the iommufd is there, its id means nothing and is given to
   * nobody (main.c:iommufd_object_tombstone_user).
   */
  bury(object: IommufdObject): void {
    if (this.#objects.get(object.id) === object) this.#objects.delete(object.id);
    object.destroy();
  }

  /** Takes an object out and destroys it. */
  destroy(object: IommufdObject): void {
    this.remove(object);
    object.destroy();
  }

  /** Any object; undefined when no object has this id. */
  get(id: number): IommufdObject | undefined {
    return this.#objects.get(id);
  }

  /** An object of one kind; ENOENT for an id that no object has, or one of another kind. */
  find<T extends IommufdObject>(id: number, kind: Kind<T>, what: string): T {
    faultPoint("fail_iommufd", "ENOENT");
    const object = this.#objects.get(id);
    if (object instanceof kind) return object;
    fail("ENOENT", object ? `id ${id} is no ${what} but ${object.label}` : `there is no ${what} with id ${id}`);
  }

  /** The end: destroys everything, users before what they use (main.c:iommufd_fops_release). */
  destroyAll(): void {
    while (this.#objects.size > 0) {
      const leaves = [...this].filter((object) => object.users === 0);
      if (leaves.length === 0) throw new Error("objects of an iommufd use each other in a circle");
      // one may take another with it
      for (const object of leaves) if (this.#objects.get(object.id) === object) this.destroy(object);
    }
  }
}
