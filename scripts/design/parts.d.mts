/** A folder under src/. */
export interface Part {
  readonly name: string;
  readonly holds: string;
  /** The other parts that it imports. */
  readonly imports: readonly string[];
  /** Packages that it may use; everything else is its own work. */
  readonly packages?: readonly string[];
}

export const PARTS: readonly Part[];
export function withTable(page: string): string;
