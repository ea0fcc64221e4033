/** Permissions in a TCE, as the hardware has them: the device may read, may write. */
export const TCE_READ = 1;
export const TCE_WRITE = 2;

const FANOUT_SHIFT = 9;
const FANOUT = 1 << FANOUT_SHIFT;

/** Entries that lie side by side. A target of 0 is an empty entry. */
class Leaf {
  /**
   * User page number (4 KiB) times 4 plus permissions: below 2^54, and exact, since a page number is below 2^40.
   * Undefined for a leaf that is full of one run: entry i is then `first` + i * `step`, and `owner` is that of all.
   */
  targets: Float64Array | undefined;
  owners: Float64Array | undefined;
  first = 0;
  step = 0;
  owner = 0;
  used = 0;
  parent: Directory | undefined;
  slot = 0;

  targetAt(at: number): number {
    return this.targets === undefined ? this.first + at * this.step : this.targets[at]!;
  }

  ownerAt(at: number): number {
    return this.owners === undefined ? this.owner : this.owners[at]!;
  }

  /** Gives each entry its own place. */
  expand(): void {
    if (this.targets !== undefined) return;
    const { first, step, owner, used } = this;
    this.targets = new Float64Array(FANOUT);
    this.owners = new Float64Array(FANOUT);
    if (used === 0) return;
    for (let at = 0; at < FANOUT; at++) this.targets[at] = first + at * step;
    this.owners.fill(owner);
  }
}

class Directory {
  readonly children: (Directory | Leaf | undefined)[] = new Array<Directory | Leaf | undefined>(FANOUT).fill(undefined);
  used = 0;
  parent: Directory | undefined;
  slot = 0;
}

/**
 * The translation control entries of one DMA window: where each IOMMU page goes, and who holds that memory. Sparse,
 * whatever the number of levels that the hardware's table would have: parts exist while something in them is mapped.
 * Calls on the hot path allocate nothing but those parts.
 */
export class TceTable {
  readonly entries: number;
  /** The entry that the last call found, replaced or took: its user page (4 KiB), permissions and owner. */
  page = 0;
  permission = 0;
  owner = 0;
  /** How many entries are mapped. */
  mapped = 0;
  /** Behind the entries that the last takeRun() took. */
  position = 0;
  readonly #root = new Directory();
  /** Directories above the leaves. */
  readonly #height: number;
  #parts = 1;
  /** The leaf of the last access: accesses come in runs. */
  #leaf: Leaf | undefined;
  #leafNumber = -1;
  /** An emptied leaf for the next one needed: mapping and unmapping one page allocates nothing. */
  #spare: Leaf | undefined;
  /** Entries of the absent part that the last search ran into. */
  #gap = 0;

  constructor(entries: number) {
    this.entries = entries;
    let height = 1;
    for (let reach = FANOUT * FANOUT; reach < entries; reach *= FANOUT) height++;
    this.#height = height;
  }

  /** Parts that take memory now, 8 KiB each or less: for tests of what a window costs. */
  get parts(): number {
    return this.#parts;
  }

  /** Looks an entry up; false when it is empty. */
  find(index: number): boolean {
    const leaf = this.#find(Math.floor(index / FANOUT));
    return leaf !== undefined && this.#load(leaf, index % FANOUT);
  }

  /** Sets an entry. True when it replaced one, which is then at hand in `page`, `permission` and `owner`. */
  put(index: number, page: number, permission: number, owner: number): boolean {
    const leaf = this.#make(Math.floor(index / FANOUT));
    leaf.expand();
    const at = index % FANOUT;
    const replaced = this.#load(leaf, at);
    if (!replaced) {
      leaf.used++;
      this.mapped++;
    }
    leaf.targets![at] = page * 4 + permission;
    leaf.owners![at] = owner;
    return replaced;
  }

  /**
   * Sets entries from `index` on that are empty, one owner's: the first to `page`, each further one `step` pages
   * behind.
   * @param most how many at most
   * @returns how many it set: all up to the end of a part of the table; 0 when the entry at `index` is not empty
   */
  putRun(index: number, most: number, page: number, step: number, permission: number, owner: number): number {
    const at = index % FANOUT;
    const leaf = this.#make((index - at) / FANOUT);
    const room = Math.min(most, FANOUT - at);
    const target = page * 4 + permission;
    let count = room;
    if (leaf.used === 0 && room === FANOUT) {
      leaf.targets = undefined;
      leaf.owners = undefined;
      leaf.first = target;
      leaf.step = step * 4;
      leaf.owner = owner;
    } else {
      leaf.expand();
      const targets = leaf.targets!;
      count = 0;
      while (count < room && targets[at + count] === 0) {
        targets[at + count] = target + count * step * 4;
        count++;
      }
      leaf.owners!.fill(owner, at, at + count);
    }
    leaf.used += count;
    this.mapped += count;
    return count;
  }

  /** Empties an entry. True when there was one, which is then at hand. */
  take(index: number): boolean {
    return this.find(index) && this.takeRun(index, index + 1) === 1;
  }

  /**
   * Empties the first mapped entries in [from, end) that lie side by side and have one owner, as far as a part of the
   * table goes. The first is then at hand, and `position` is behind the last.
   * @returns how many; 0 when none is mapped there
   */
  takeRun(from: number, end: number): number {
    const index = this.next(from, end);
    if (index < 0) return 0;
    const leaf = this.#leaf!;
    const at = index % FANOUT;
    const last = Math.min(FANOUT, at + end - index);
    this.#load(leaf, at);
    let count = FANOUT;
    if (leaf.targets !== undefined || at > 0 || last < FANOUT) {
      leaf.expand();
      const targets = leaf.targets!;
      const owners = leaf.owners!;
      count = 0;
      while (at + count < last && targets[at + count] !== 0 && owners[at + count] === this.owner) count++;
      targets.fill(0, at, at + count);
      owners.fill(0, at, at + count);
    }
    leaf.used -= count;
    this.mapped -= count;
    this.position = index + count;
    if (leaf.used === 0) this.#drop(leaf);
    return count;
  }

  /** The first mapped entry in [from, end), or -1. Passes over what is not there without visiting it. */
  next(from: number, end: number): number {
    const stop = Math.min(end, this.entries);
    for (let index = from; index < stop; ) {
      const leafNumber = Math.floor(index / FANOUT);
      const leaf = this.#find(leafNumber);
      if (leaf === undefined) {
        index = (Math.floor(index / this.#gap) + 1) * this.#gap;
        continue;
      }
      const base = leafNumber * FANOUT;
      const last = Math.min(FANOUT, stop - base);
      if (leaf.targets === undefined) return index;
      for (let at = index - base; at < last; at++) if (leaf.targets[at] !== 0) return base + at;
      index = base + FANOUT;
    }
    return -1;
  }

  #load(leaf: Leaf, at: number): boolean {
    const target = leaf.targetAt(at);
    if (target === 0) return false;
    this.permission = target % 4;
    this.page = (target - this.permission) / 4;
    this.owner = leaf.ownerAt(at);
    return true;
  }

  #find(leafNumber: number): Leaf | undefined {
    if (leafNumber === this.#leafNumber && this.#leaf !== undefined) return this.#leaf;
    let directory = this.#root;
    for (let span = FANOUT ** (this.#height - 1); ; span /= FANOUT) {
      const child = directory.children[Math.floor(leafNumber / span) % FANOUT];
      if (child === undefined) {
        this.#gap = span * FANOUT;
        return undefined;
      }
      if (child instanceof Leaf) {
        this.#leaf = child;
        this.#leafNumber = leafNumber;
        return child;
      }
      directory = child;
    }
  }

  #make(leafNumber: number): Leaf {
    const found = this.#find(leafNumber);
    if (found !== undefined) return found;
    let directory = this.#root;
    for (let span = FANOUT ** (this.#height - 1); span > 1; span /= FANOUT) {
      const slot = Math.floor(leafNumber / span) % FANOUT;
      let child = directory.children[slot];
      if (child === undefined) {
        child = new Directory();
        this.#adopt(directory, slot, child);
      }
      directory = child as Directory;
    }
    const leaf = this.#spare ?? new Leaf();
    this.#spare = undefined;
    this.#adopt(directory, leafNumber % FANOUT, leaf);
    this.#leaf = leaf;
    this.#leafNumber = leafNumber;
    return leaf;
  }

  #adopt(directory: Directory, slot: number, child: Directory | Leaf): void {
    directory.children[slot] = child;
    directory.used++;
    child.parent = directory;
    child.slot = slot;
    this.#parts++;
  }

  /** Lets an empty leaf go, and the directories that are empty without it. */
  #drop(leaf: Leaf): void {
    this.#leaf = undefined;
    this.#leafNumber = -1;
    if (leaf.targets !== undefined) this.#spare = leaf;
    let part: Directory | Leaf = leaf;
    while (part.used === 0 && part.parent !== undefined) {
      const parent: Directory = part.parent;
      parent.children[part.slot] = undefined;
      parent.used--;
      part.parent = undefined;
      this.#parts--;
      part = parent;
    }
  }
}
