import { fail } from "../../kernel/errors.ts";
import { type Layout, viewOf } from "../../uapi/layout.ts";
import { IOMMU_MODEL_INTEL, IOMMU_MODEL_S390 } from "../../uapi/rfc-2017.ts";
import type { NestingContainer } from "./nesting-container.ts";
import { modelOf } from "./op-support.ts";

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
    return layout.read(viewOf(this.#bytes), 0);
  }

  /**
   * The vendor data behind that structure. EINVAL when `length` is none of `sizes` or reaches beyond what was copied, E2BIG when more than zeros
   * follow them.
   */
  vendor(length: number, sizes: readonly number[]): Uint8Array {
    if (!sizes.includes(length))
      fail("EINVAL", `length is ${length}; the vendor data here have ${sizes.join(" or ")} bytes`);
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

/** EINVAL for a model that is none, EOPNOTSUPP for one that the container's IOMMU is not. */
export function needModel(container: NestingContainer, model: number): void {
  if (model < 1 || model > IOMMU_MODEL_S390)
    fail("EINVAL", `model ${model} is unknown (1 Intel, 2 Arm SMMU, 3 AMD, 4 sPAPR, 5 s390)`);
  // what is bound goes on: a device without IOMMU that joins later takes nothing from the others
  const here = container.hasBindings ? IOMMU_MODEL_INTEL : modelOf(container);
  if (model === here) return;
  // a container with a plain mediated device has no IOMMU model either, but that device is the reason to give
  container.needAll();
  fail(
    "EOPNOTSUPP",
    here === 0
      ? "no IOMMU of this container can nest translations; PROBE says what there is"
      : `the IOMMU here is model ${here}, not ${model}; PROBE says what there is`,
  );
}
