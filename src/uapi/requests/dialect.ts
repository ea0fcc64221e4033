import { decodeIo, encodeIo } from "../ioctl.ts";
import type { RequestRow } from "./request-row.ts";

/** What request numbers mean on a kind of file: the list of its requests. */
export class RequestDialect {
  /** What traces call it. */
  readonly name: string;
  /** Its requests, and those that it has names for. */
  readonly rows: readonly RequestRow[];
  readonly #byNumber: ReadonlyMap<number, RequestRow>;

  /**
   * @param rows of two requests with one number the last counts
   * @param others requests of other files, whose numbers keep their names where this dialect has none: a program that
   * tries one here is better told what it tried
   */
  constructor(name: string, rows: readonly RequestRow[], others: readonly RequestRow[] = []) {
    this.name = name;
    this.#byNumber = new Map([...others, ...rows].map((row) => [row.number, row]));
    this.rows = [...this.#byNumber.values()];
  }

  /** @param request in either encoding (ioctl.ts) */
  row(request: number): RequestRow | undefined {
    const decoded = decodeIo(request);
    return decoded && this.#byNumber.get(encodeIo(decoded.type, decoded.nr));
  }

  /** "VFIO_IOMMU_MAP_DMA"; numbers without a name come back in hex, as they were. */
  nameOf(request: number): string {
    return this.row(request)?.name ?? `0x${(request >>> 0).toString(16)}`;
  }
}

/** Of files that have no requests. */
export const NO_REQUESTS = new RequestDialect("none", []);
