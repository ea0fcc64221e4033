/** Leaves that an inner node has room for. */
const NODE = 64;
const NODE_SHIFT = 6;
const WITHIN = NODE - 1;
const NONE = -1;
/** Inner nodes that are passed over together where none of them has a hole that is large enough. */
const GROUP_SHIFT = 6;
/** A node that has fewer leaves is joined with a neighbour, if both together leave room. */
const FEW = (NODE * 3) / 8;
const JOINED = (NODE * 3) / 4;

/**
 * Which leaf a page belongs to: the two levels above the leaves of an interval map. Inner nodes have up to 64 leaves
 * each; one root has all inner nodes: one or two for a thousand runs, some thousand for ten million. The key of a leaf
 * is the first page of its first run, that of an inner node the key of its first leaf. The keys of the very first leaf
 * and node are never looked at.
 *
 * The index has a place, one leaf. IntervalMap looks a page up, which is most of what there is to do, and then sets it;
 * everything that changes the index does so at the place.
 *
 * It can also say which leaf has a hole of some size in front of one of its runs: each leaf, each node and each 64
 * nodes have a bound that no such hole exceeds. A bound may be too large until somebody has looked.
 */
export class LeafIndex {
  /** The keys of the leaves of all inner nodes, 64 for each node. Those that are not in use are Infinity. */
  keys: Float64Array = new Float64Array(NODE).fill(Number.POSITIVE_INFINITY);
  /** Their numbers. */
  leaves: Uint32Array = new Uint32Array(NODE);
  /**
   * The keys of the inner nodes, in order; Infinity behind the last. The length is a power of four, which the search
   * asks for.
   */
  rootKeys: Float64Array = new Float64Array(1);
  /** Their numbers. */
  nodes: Uint32Array = new Uint32Array(1);
  /** The place: an entry of the root, and where in `keys` and `leaves` the leaf is. */
  root = 0;
  place = 0;
  /** The first and the last leaf, and where they are in `keys` and `leaves`: what is used in turn goes to both. */
  #firstPlace = 0;
  #firstLeaf = 0;
  #lastPlace = 0;
  #lastLeaf = 0;
  /** How many leaves each inner node has; 0 where there is no node. */
  #lengths: Uint8Array = new Uint8Array(1);
  /** How many inner nodes there are. */
  #used = 1;
  #rootLength = 1;
  /** Bounds of the holes: of leaves, as `leaves` lies; of nodes by number; of 64 entries of the root each. */
  #leafHoles: Float64Array = new Float64Array(NODE);
  #nodeHoles: Float64Array = new Float64Array(1);
  #groupHoles: Float64Array = new Float64Array(1);

  /** An index of one leaf. */
  constructor(leaf: number) {
    this.leaves[0] = leaf;
    this.#lengths[0] = 1;
    this.#findEnds();
  }

  /** Goes to the next leaf and returns it; -1 behind the last. */
  toNextLeaf(): number {
    const right = this.right;
    if (right !== NONE) {
      this.place++;
      return right;
    }
    if (this.root + 1 === this.#rootLength) return NONE;
    this.place = this.nodes[++this.root]! << NODE_SHIFT;
    return this.leaves[this.place]!;
  }

  /** The leaf before this one, in whichever node; -1 for the very first. */
  get before(): number {
    const { left } = this;
    if (left !== NONE || this.root === 0) return left;
    const node = this.nodes[this.root - 1]!;
    return this.leaves[(node << NODE_SHIFT) + this.#lengths[node]! - 1]!;
  }

  /** No hole in front of a run of the leaf here is larger. */
  get hole(): number {
    return this.#leafHoles[this.place]!;
  }

  /** A hole of this size is in front of a run of the leaf here. */
  noteHole(size: number): void {
    if (size <= this.#leafHoles[this.place]!) return;
    this.#leafHoles[this.place] = size;
    const node = this.place >>> NODE_SHIFT;
    if (size > this.#nodeHoles[node]!) this.#nodeHoles[node] = size;
    const group = this.root >>> GROUP_SHIFT;
    if (size > this.#groupHoles[group]!) this.#groupHoles[group] = size;
  }

  /** Somebody has looked: no hole in front of a run of the leaf here is larger. */
  setHole(size: number): void {
    this.#leafHoles[this.place] = size;
  }

  /** Goes to the next leaf that may have a hole of this size, and returns it; -1 when none has, and the place stays. */
  toNextHole(size: number): number {
    const node = this.place >>> NODE_SHIFT;
    if (this.#toHoleIn(node, (this.place & WITHIN) + 1, size)) return this.leaves[this.place]!;
    for (let root = this.root + 1; root < this.#rootLength; ) {
      const group = root >>> GROUP_SHIFT;
      if (this.#groupHoles[group]! < size) {
        root = (group + 1) << GROUP_SHIFT;
        continue;
      }
      const next = this.nodes[root]!;
      if (this.#nodeHoles[next]! >= size) {
        if (this.#toHoleIn(next, 0, size)) {
          this.root = root;
          return this.leaves[this.place]!;
        }
        this.#nodeHoles[next] = largest(this.#leafHoles, next << NODE_SHIFT, this.#lengths[next]!);
      }
      root++;
      // all of a group has been looked at
      if ((root & WITHIN) === 0) this.#boundGroup(group);
    }
    return NONE;
  }

  /** Goes to the first leaf of a node, from one on, that may have a hole of this size. */
  #toHoleIn(node: number, from: number, size: number): boolean {
    const first = node << NODE_SHIFT;
    const end = first + this.#lengths[node]!;
    for (let place = first + from; place < end; place++) {
      if (this.#leafHoles[place]! < size) continue;
      this.place = place;
      return true;
    }
    return false;
  }

  #boundGroup(group: number): void {
    const end = Math.min(this.#rootLength, (group + 1) << GROUP_SHIFT);
    let bound = 0;
    for (let root = group << GROUP_SHIFT; root < end; root++)
      bound = Math.max(bound, this.#nodeHoles[this.nodes[root]!]!);
    this.#groupHoles[group] = bound;
  }

  #boundGroups(): void {
    const groups = ((this.#rootLength - 1) >>> GROUP_SHIFT) + 1;
    if (groups > this.#groupHoles.length) this.#groupHoles = new Float64Array(groups * 2);
    for (let group = 0; group < groups; group++) this.#boundGroup(group);
  }

  /** Goes to the first leaf and returns it. */
  toFirstLeaf(): number {
    this.root = 0;
    this.place = this.#firstPlace;
    return this.#firstLeaf;
  }

  /** Goes to the last leaf and returns it. */
  toLastLeaf(): number {
    this.root = this.#rootLength - 1;
    this.place = this.#lastPlace;
    return this.#lastLeaf;
  }

  /** Finds the first and the last leaf, after any change of which leaves there are. */
  #findEnds(): void {
    this.#firstPlace = this.nodes[0]! << NODE_SHIFT;
    this.#firstLeaf = this.leaves[this.#firstPlace]!;
    const node = this.nodes[this.#rootLength - 1]!;
    this.#lastPlace = (node << NODE_SHIFT) + this.#lengths[node]! - 1;
    this.#lastLeaf = this.leaves[this.#lastPlace]!;
  }

  /** The leaf before this one in the same node, -1 for the first. */
  get left(): number {
    return (this.place & WITHIN) > 0 ? this.leaves[this.place - 1]! : NONE;
  }

  /** The leaf behind this one in the same node, -1 for the last. */
  get right(): number {
    return (this.place & WITHIN) + 1 < this.#lengths[this.place >>> NODE_SHIFT]! ? this.leaves[this.place + 1]! : NONE;
  }

  /** The leaf here has another first run. */
  setKey(page: number): void {
    this.keys[this.place] = page;
    if ((this.place & WITHIN) === 0) this.rootKeys[this.root] = page;
  }

  /** The leaf here has another number. */
  setLeaf(leaf: number): void {
    this.leaves[this.place] = leaf;
    this.#findEnds();
  }

  /**
   * Adds a leaf behind the one here. The place is undefined afterwards.
   * @param hole a bound of the holes in front of its runs: no larger than that of the leaf here was
   */
  insertBehind(key: number, leaf: number, hole: number): void {
    let node = this.place >>> NODE_SHIFT;
    let at = (this.place & WITHIN) + 1;
    if (this.#lengths[node] === NODE) {
      // leaves that are made at rising addresses fill their node
      const keep = at === NODE ? NODE : NODE / 2;
      const right = this.#takeNode();
      this.#move(node, keep, right);
      this.#insertNode(this.root + 1, keep === NODE ? key : this.keys[right << NODE_SHIFT]!, right);
      if (at > keep || keep === NODE) {
        node = right;
        at -= keep;
      }
    }
    const first = node << NODE_SHIFT;
    const length = this.#lengths[node]!++;
    const { keys, leaves } = this;
    const holes = this.#leafHoles;
    // for so few, copyWithin() is slower
    for (let i = first + length; i > first + at; i--) {
      keys[i] = keys[i - 1]!;
      leaves[i] = leaves[i - 1]!;
      holes[i] = holes[i - 1]!;
    }
    keys[first + at] = key;
    leaves[first + at] = leaf;
    holes[first + at] = hole;
    this.#findEnds();
  }

  /**
   * Takes the leaf out that is behind the one here in the same node and whose runs this one has now. The place is
   * undefined afterwards.
   */
  removeRight(): void {
    this.noteHole(this.#leafHoles[this.place + 1]!);
    this.place++;
    this.remove();
  }

  /**
   * Takes the leaf here out, whose runs the one before it in the same node has now. The place is undefined afterwards.
   */
  removeToLeft(): void {
    this.place--;
    this.removeRight();
  }

  /** Takes the leaf here out, which is not the only one. The place is undefined afterwards. */
  remove(): void {
    const node = this.place >>> NODE_SHIFT;
    const first = node << NODE_SHIFT;
    const length = --this.#lengths[node]!;
    const { keys, leaves } = this;
    const holes = this.#leafHoles;
    for (let i = this.place; i < first + length; i++) {
      keys[i] = keys[i + 1]!;
      leaves[i] = leaves[i + 1]!;
      holes[i] = holes[i + 1]!;
    }
    keys[first + length] = Number.POSITIVE_INFINITY;
    if (length === 0) {
      this.#removeNode(this.root);
    } else {
      if (this.place === first) this.rootKeys[this.root] = keys[first]!;
      if (length < FEW) this.#join(this.root);
    }
    if (this.#used * 4 < this.#lengths.length) this.#shrink();
    this.#findEnds();
  }

  /** Joins an inner node with a neighbour that has few leaves as well. */
  #join(rootAt: number): void {
    for (let left = rootAt; left >= rootAt - 1; left--) {
      if (left < 0 || left + 1 >= this.#rootLength) continue;
      const to = this.nodes[left]!;
      const from = this.nodes[left + 1]!;
      if (this.#lengths[to]! + this.#lengths[from]! > JOINED) continue;
      this.#move(from, 0, to);
      this.#removeNode(left + 1);
      return;
    }
  }

  /** Moves the leaves of a node from `at` on to the end of another. */
  #move(from: number, at: number, to: number): void {
    const start = (from << NODE_SHIFT) + at;
    const stop = (from << NODE_SHIFT) + this.#lengths[from]!;
    const end = (to << NODE_SHIFT) + this.#lengths[to]!;
    this.keys.copyWithin(end, start, stop);
    this.leaves.copyWithin(end, start, stop);
    this.#leafHoles.copyWithin(end, start, stop);
    this.#nodeHoles[to] = Math.max(this.#nodeHoles[to]!, this.#nodeHoles[from]!);
    this.keys.fill(Number.POSITIVE_INFINITY, start, stop);
    this.#lengths[from] = at;
    this.#lengths[to]! += stop - start;
  }

  #insertNode(rootAt: number, key: number, node: number): void {
    const length = this.#rootLength++;
    if (length === this.rootKeys.length) this.#resizeRoot(length * 4);
    this.rootKeys.copyWithin(rootAt + 1, rootAt, length);
    this.nodes.copyWithin(rootAt + 1, rootAt, length);
    this.rootKeys[rootAt] = key;
    this.nodes[rootAt] = node;
    this.#boundGroups();
  }

  #removeNode(rootAt: number): void {
    const node = this.nodes[rootAt]!;
    this.#lengths[node] = 0;
    this.#used--;
    const length = this.#rootLength--;
    this.rootKeys.copyWithin(rootAt, rootAt + 1, length);
    this.nodes.copyWithin(rootAt, rootAt + 1, length);
    this.rootKeys[length - 1] = Number.POSITIVE_INFINITY;
    if (length * 8 < this.rootKeys.length) this.#resizeRoot(this.rootKeys.length / 4);
    this.#boundGroups();
  }

  #resizeRoot(size: number): void {
    const keys = new Float64Array(size).fill(Number.POSITIVE_INFINITY);
    const nodes = new Uint32Array(size);
    keys.set(this.rootKeys.subarray(0, size));
    nodes.set(this.nodes.subarray(0, size));
    this.rootKeys = keys;
    this.nodes = nodes;
  }

  #takeNode(): number {
    const nodes = this.#lengths.length;
    if (this.#used++ === nodes) {
      const larger = newNodes(nodes * 2);
      larger.keys.set(this.keys);
      larger.leaves.set(this.leaves);
      larger.lengths.set(this.#lengths);
      larger.leafHoles.set(this.#leafHoles);
      larger.nodeHoles.set(this.#nodeHoles);
      this.#use(larger);
    }
    const node = this.#lengths.indexOf(0);
    this.#nodeHoles[node] = 0;
    return node;
  }

  #use({ keys, leaves, lengths, leafHoles, nodeHoles }: ReturnType<typeof newNodes>): void {
    this.keys = keys;
    this.leaves = leaves;
    this.#lengths = lengths;
    this.#leafHoles = leafHoles;
    this.#nodeHoles = nodeHoles;
  }

  /** Moves the nodes to arrays of half the size, in the root's order. */
  #shrink(): void {
    const smaller = newNodes(this.#lengths.length / 2);
    for (let to = 0; to < this.#rootLength; to++) {
      const from = this.nodes[to]!;
      const first = from << NODE_SHIFT;
      const end = first + NODE;
      smaller.keys.set(this.keys.subarray(first, end), to << NODE_SHIFT);
      smaller.leaves.set(this.leaves.subarray(first, end), to << NODE_SHIFT);
      smaller.leafHoles.set(this.#leafHoles.subarray(first, end), to << NODE_SHIFT);
      smaller.lengths[to] = this.#lengths[from]!;
      smaller.nodeHoles[to] = this.#nodeHoles[from]!;
      this.nodes[to] = to;
    }
    this.#use(smaller);
  }
}

/** Room for so many inner nodes. */
function newNodes(nodes: number) {
  return {
    keys: new Float64Array(nodes * NODE).fill(Number.POSITIVE_INFINITY),
    leaves: new Uint32Array(nodes * NODE),
    lengths: new Uint8Array(nodes),
    leafHoles: new Float64Array(nodes * NODE),
    nodeHoles: new Float64Array(nodes),
  };
}

/** Of `length` numbers from one on, none negative. */
function largest(values: Float64Array, from: number, length: number): number {
  let most = 0;
  for (let i = from; i < from + length; i++) most = Math.max(most, values[i]!);
  return most;
}
