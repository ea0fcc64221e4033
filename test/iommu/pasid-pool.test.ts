import { describe, expect, test } from "vitest";
import { PasidPool } from "../../src/iommu/pasid-pool.ts";
import { KernelError } from "../../src/kernel/errors.ts";

const [A, B] = [{ label: "A" }, { label: "B" }];
const [ANNA, BERT] = [{}, {}];

function errno(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof KernelError) return error.code;
    throw error;
  }
  return "none";
}

describe("the PASIDs of a host", () => {
  test("are the lowest free ones of a range, up to a process's quota", () => {
    const pool = new PasidPool();
    expect(pool.allocate(A, ANNA, 1, 10, 2)).toBe(1);
    expect(pool.allocate(B, BERT, 1, 10, 2)).toBe(2);
    expect(pool.allocate(A, ANNA, 5, 5, 2)).toBe(5);
    expect(errno(() => pool.allocate(A, ANNA, 1, 10, 2))).toBe("ENOSPC");
    expect(errno(() => pool.allocate(B, BERT, 5, 5, 2))).toBe("ENOSPC");
    expect(pool.size).toBe(3);
    expect(pool.heldIn(ANNA, 2, 9)).toEqual([5]);
    expect(pool.heldIn(ANNA, 0, 2 ** 32 - 1)).toEqual([1, 5]);
    expect(pool.isHeldBy(5, BERT)).toBe(false);
    expect(pool.of(A).sort()).toEqual([1, 5]);
    pool.free(5);
    expect(pool.allocate(B, BERT, 5, 5, 2)).toBe(5);
  });

  test("that guests choose count against the same quota", () => {
    const pool = new PasidPool();
    pool.charge(ANNA, 2);
    pool.allocate(A, ANNA, 1, 9, 2);
    expect(errno(() => pool.charge(ANNA, 2))).toBe("ENOSPC");
    expect(errno(() => pool.allocate(A, ANNA, 1, 9, 2))).toBe("ENOSPC");
    pool.charge(BERT, 2);
    pool.credit(ANNA);
    pool.charge(ANNA, 2);
    expect(pool.heldBy(ANNA)).toBe(2);
  });

  test("are unbound where they are bound, before they are free", () => {
    const pool = new PasidPool();
    const pasid = pool.allocate(A, ANNA, 1, 9, 9);
    const seen: string[] = [];
    pool.whenFreed(pasid, (number) => seen.push(`first ${number} ${pool.isHeldBy(number, ANNA)}`));
    const stop = pool.whenFreed(pasid, () => seen.push("second"));
    stop();
    pool.free(pasid);
    expect(seen).toEqual([`first ${pasid} true`]);
    // and it is another one when it is given out again
    pool.free(pool.allocate(A, ANNA, 1, 9, 9));
    expect(seen.length).toBe(1);
  });
});
