/** A C function: pointers are addresses or views of memory, 64-bit integers numbers where they are exact. */
export interface CFunction {
  // biome-ignore lint/suspicious/noExplicitAny: what goes in and out is said by the prototype, a text
  (...args: any[]): any;
  /** The same in another thread; the last argument is called with the error or the result. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly async: (...args: any[]) => void;
}

/** What of koffi (koffi.dev, 3.x) is used here. */
export interface Koffi {
  /** A shared library; null is what this process has loaded already, the C library among it. */
  load(path: null): {
    func(prototype: string): CFunction;
    func(name: string, result: string, args: readonly string[]): CFunction;
  };
  /** Memory outside of V8's heap for `length` elements. */
  alloc(type: string, length: number): CPointer;
  /** Nobody may look at the memory afterwards. */
  free(pointer: CPointer): void;
  address(pointer: CPointer): bigint;
  /** `length` bytes of memory as they are, not a copy. */
  view(pointer: CPointer | number | bigint, length: number): ArrayBuffer;
  decode(pointer: CPointer, type: string): unknown;
  /** The function at an address, as its prototype says. */
  decode(address: number, prototype: CPrototype): CFunction;
  proto(result: string, args: readonly string[]): CPrototype;
  /** Of the last call in this thread. */
  errno(): number;
}

export interface CPointer {
  readonly __brand: "CPointer";
}

export interface CPrototype {
  readonly __brand: "CPrototype";
}
