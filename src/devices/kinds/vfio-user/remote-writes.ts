import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
} from "../../../uapi/vfio-feature.ts";
import { LoggedRangeBody, LoggingReportBody, LoggingStartBody } from "../../../vfio-user/layouts.ts";
import type { OwnWrites, Written } from "../../device-model.ts";
import { RefusedError, type RemoteDevice } from "./remote-device.ts";
import { getFeature, setFeature } from "./remote-features.ts";

/** Bytes of a bitmap that fit in one answer, with what stands before them. */
const MOST_BITMAP = 2 ** 20 - 64;

/** A range of memory that the server has the descriptor of, and may write. Bytes. */
export interface SharedRange {
  readonly iova: bigint;
  readonly size: bigint;
}

/**
 * What a server writes to memory that it shares. It is asked mapping by mapping, since some know no other ranges. Where
 * it does not log, all that it may write counts as written.
 */
export class RemoteWrites implements OwnWrites {
  readonly #remote: RemoteDevice;
  readonly #shared: () => Iterable<SharedRange>;
  #pageSize = 0n;
  #written: Written | undefined;
  #isLogged = false;

  constructor(remote: RemoteDevice, shared: () => Iterable<SharedRange>) {
    this.#remote = remote;
    this.#shared = shared;
  }

  start(
    ranges: readonly { readonly start: bigint; readonly last: bigint }[],
    pageSize: bigint,
    written: Written,
  ): void {
    this.#pageSize = pageSize;
    this.#written = written;
    const body = LoggingStartBody.encode({ page_size: pageSize, num_ranges: ranges.length });
    const each = ranges.map(({ start, last }) => LoggedRangeBody.encode({ iova: start, length: last - start + 1n }));
    this.#isLogged = this.#try(() =>
      setFeature(this.#remote, VFIO_DEVICE_FEATURE_DMA_LOGGING_START, Buffer.concat([body, ...each])),
    );
  }

  collect(start: bigint, last: bigint): void {
    for (const range of this.#shared())
      if (range.iova <= last && start < range.iova + range.size) this.#collectFrom(range, start, last);
  }

  /** The server is told to forget a mapping: what it wrote there before that counts. */
  leave(range: SharedRange): void {
    if (this.#written) this.#collectFrom(range, range.iova, range.iova + range.size - 1n);
  }

  stop(): void {
    this.#written = undefined;
    if (this.#isLogged)
      this.#try(() => setFeature(this.#remote, VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, new Uint8Array(0)));
    this.#isLogged = false;
  }

  #collectFrom({ iova, size }: SharedRange, start: bigint, last: bigint): void {
    const pages = (size + this.#pageSize - 1n) / this.#pageSize;
    const length = 8 * Math.ceil(Number(pages) / 64);
    const isKnown = this.#isLogged && length <= MOST_BITMAP && this.#try(() => this.#report(iova, size, length));
    if (isKnown || this.#remote.reason !== undefined) return;
    const from = start > iova ? start : iova;
    const to = last < iova + size - 1n ? last : iova + size - 1n;
    this.#written?.(from, Number(to - from) + 1);
  }

  /** What is reported is clean for the server from now on, so that all of it is kept here. */
  #report(iova: bigint, size: bigint, length: number): void {
    const question = LoggingReportBody.encode({ iova, length: size, page_size: this.#pageSize });
    const { size: head } = LoggingReportBody;
    const answer = getFeature(this.#remote, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, question, head + length);
    for (const [index, byte] of answer.subarray(head, head + length).entries()) {
      for (let bit = 0; byte >> bit !== 0; bit++)
        if ((byte >> bit) & 1) this.#page(iova, size, BigInt(8 * index + bit) * this.#pageSize);
    }
  }

  #page(iova: bigint, size: bigint, at: bigint): void {
    if (at < size) this.#written?.(iova + at, Number(at + this.#pageSize > size ? size - at : this.#pageSize));
  }

  /** False when the server refuses, or is gone. */
  #try(action: () => void): boolean {
    return (
      this.#remote.attempt(() => {
        try {
          action();
          return true;
        } catch (error) {
          if (error instanceof RefusedError) return false;
          throw error;
        }
      }) ?? false
    );
  }
}
