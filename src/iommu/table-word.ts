/**
 * A word of 64 bits of a table, as its halves and as its bytes: a bigint would be an object for each entry of a walk.
 * Little-endian as the hosts that the model runs on.
 */
export class TableWord {
  readonly bytes = new Uint8Array(8);
  readonly #halves = new Int32Array(this.bytes.buffer);
  readonly #whole = new BigUint64Array(this.bytes.buffer);

  get low(): number {
    return this.#halves[0]!;
  }

  get high(): number {
    return this.#halves[1]!;
  }

  get value(): bigint {
    return this.#whole[0]!;
  }

  set value(value: bigint) {
    this.#whole[0] = value;
  }

  setHalves(low: number, high: number): void {
    this.#halves[0] = low;
    this.#halves[1] = high;
  }
}
