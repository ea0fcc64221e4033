/** Memory that tables lie in, as the unit reads it: 64-bit words at addresses that are multiples of 8. */
export interface TableMemory {
  /** Undefined when the address cannot be read. */
  load(address: bigint): bigint | undefined;
  /** False when the address cannot be written. */
  store(address: bigint, value: bigint): boolean;
}
