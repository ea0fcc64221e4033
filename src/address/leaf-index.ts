/** Leaves that an inner node has room for. */
const NODE = 64;
const NODE_SHIFT = 6;
const WITHIN = NODE - 1;
const NONE = -1;
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
  /** How many leaves each inner node has; 0 where there is no node. */
  #lengths: Uint8Array = new Uint8Array(1);
  /** How many inner nodes there are. */
  #used = 1;
  #rootLength = 1;

  /** An index of one leaf. */
  constructor(leaf: number) {
    this.leaves[0] = leaf;
    this.#lengths[0] = 1;
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

  /** Goes to the first leaf and returns it. */
  toFirstLeaf(): number {
    this.root = 0;
    this.place = this.nodes[0]! << NODE_SHIFT;
    return this.leaves[this.place]!;
  }

  /** Goes to the last leaf and returns it. */
  toLastLeaf(): number {
    this.root = this.#rootLength - 1;
    const node = this.nodes[this.root]!;
    this.place = (node << NODE_SHIFT) + this.#lengths[node]! - 1;
    return this.leaves[this.place]!;
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
  }

  /** Adds a leaf behind the one here. The place is undefined afterwards. */
  insertBehind(key: number, leaf: number): void {
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
    // for so few, copyWithin() is slower
    for (let i = first + length; i > first + at; i--) {
      keys[i] = keys[i - 1]!;
      leaves[i] = leaves[i - 1]!;
    }
    keys[first + at] = key;
    leaves[first + at] = leaf;
  }

  /** Takes the leaf out that is behind the one here in the same node. The place is undefined afterwards. */
  removeRight(): void {
    this.place++;
    this.remove();
  }

  /** Takes the leaf here out, which is not the only one. The place is undefined afterwards. */
  remove(): void {
    const node = this.place >>> NODE_SHIFT;
    const first = node << NODE_SHIFT;
    const length = --this.#lengths[node]!;
    const { keys, leaves } = this;
    for (let i = this.place; i < first + length; i++) {
      keys[i] = keys[i + 1]!;
      leaves[i] = leaves[i + 1]!;
    }
    keys[first + length] = Number.POSITIVE_INFINITY;
    if (length === 0) {
      this.#removeNode(this.root);
    } else {
      if (this.place === first) this.rootKeys[this.root] = keys[first]!;
      if (length < FEW) this.#join(this.root);
    }
    if (this.#used * 4 < this.#lengths.length) this.#shrink();
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
      const { keys, leaves, lengths } = newNodes(nodes * 2);
      keys.set(this.keys);
      leaves.set(this.leaves);
      lengths.set(this.#lengths);
      this.keys = keys;
      this.leaves = leaves;
      this.#lengths = lengths;
    }
    return this.#lengths.indexOf(0);
  }

  /** Moves the nodes to arrays of half the size, in the root's order. */
  #shrink(): void {
    const { keys, leaves, lengths } = newNodes(this.#lengths.length / 2);
    for (let to = 0; to < this.#rootLength; to++) {
      const from = this.nodes[to]!;
      const first = from << NODE_SHIFT;
      keys.set(this.keys.subarray(first, first + NODE), to << NODE_SHIFT);
      leaves.set(this.leaves.subarray(first, first + NODE), to << NODE_SHIFT);
      lengths[to] = this.#lengths[from]!;
      this.nodes[to] = to;
    }
    this.keys = keys;
    this.leaves = leaves;
    this.#lengths = lengths;
  }
}

function newNodes(nodes: number): { keys: Float64Array; leaves: Uint32Array; lengths: Uint8Array } {
  return {
    keys: new Float64Array(nodes * NODE).fill(Number.POSITIVE_INFINITY),
    leaves: new Uint32Array(nodes * NODE),
    lengths: new Uint8Array(nodes),
  };
}
