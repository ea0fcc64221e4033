import { fail } from "../../kernel/errors.ts";
import type { Layout } from "../../uapi/layout.ts";
import type { NestingContainer } from "./nesting-container.ts";
import { modelForBinding, modelInForce } from "./op-support.ts";

/** What stands behind the head of an operation, copied once. Vendor data lies inside it or is refused. */
export class OpData {
  readonly #bytes: Uint8Array;
  #used = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The structure that the data begin with. EINVAL when they are too short. */
  head<F extends ConstructorParameters<typeof Layout>[1]>(layout: Layout<F>): ReturnType<Layout<F>["decode"]> {
    if (this.#bytes.length < layout.size) {
      fail("EINVAL", `argsz leaves ${this.#bytes.length} bytes for struct ${layout.name}, ${layout.size} are needed`);
    }
    this.#used = layout.size;
    return layout.decode(this.#bytes);
  }

  /**
   * The vendor data behind that structure. EINVAL when `length` is not one of `sizes` or reaches beyond what was
   * copied, E2BIG when more than zeros follow them.
   */
  vendor(length: number, sizes: readonly number[]): Uint8Array {
    if (!sizes.includes(length))
      fail("EINVAL", `length is ${length}; the vendor data here have ${sizes.join(" or ")} bytes`);
    return this.#behind(length);
  }

  /** Vendor data that are 1 to `most` pieces of `size` bytes. Errors as vendor(). */
  vendorList(length: number, size: number, most: number): Uint8Array[] {
    const count = length / size;
    if (!Number.isInteger(count) || count < 1 || count > most)
      fail("EINVAL", `length is ${length}; the vendor data here are 1 to ${most} pieces of ${size} bytes`);
    const bytes = this.#behind(length);
    return Array.from({ length: count }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
  }

  #behind(length: number): Uint8Array {
    const end = this.#used + length;
    if (end > this.#bytes.length) {
      fail(
        "EINVAL",
        `length ${length} reaches beyond argsz, which leaves ${this.#bytes.length - this.#used} bytes for vendor data`,
      );
    }
    if (this.#bytes.subarray(end).some((byte) => byte !== 0)) {
      fail("E2BIG", `something follows the ${end} bytes that are known here: a newer operation than this kernel's?`);
    }
    return this.#bytes.subarray(this.#used, end);
  }
}

/**
 * What a bind needs: every device of the container behind an IOMMU of that model. ENODEV when a device has no IOMMU,
 * EOPNOTSUPP for a model that the IOMMU is not, EINVAL for 0, which means no model.
 */
export function needModelToBind(container: NestingContainer, model: number): void {
  needModel(container, model, modelForBinding(container));
}

/** What undoing and invalidating need: as a bind, but what is bound has a model whoever has joined since. */
export function needModelInForce(container: NestingContainer, model: number): void {
  needModel(container, model, modelInForce(container));
}

function needModel(container: NestingContainer, model: number, here: number): void {
  if (model === 0) fail("EINVAL", "model is 0, which is none; PROBE says what there is");
  if (model === here) return;
  // a container with a plain mediated device has no IOMMU model either, but that device is the reason to give
  if (here === 0) container.needAll();
  fail(
    "EOPNOTSUPP",
    here === 0
      ? "no IOMMU of this container can nest translations; PROBE says what there is"
      : `the IOMMU here is model ${here}, not ${model}; PROBE says what there is`,
  );
}
