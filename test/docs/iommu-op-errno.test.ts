import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { PROT_READ } from "../../src/kernel/model-areas.ts";
import { encodeDescriptor } from "../../src/uapi/intel-invalidation.ts";
import * as rfc from "../../src/uapi/rfc-2017.ts";
import { ROOT } from "../cli/uvfio.ts";
import { dmaRead, EDU, NestingProgram, nestingHost } from "../vfio/nesting/nesting-program.ts";
import {
  bindPasidTable,
  bindProcess,
  bindTable,
  descriptors,
  invalidate,
  OTHER_SOURCE,
  op,
  probe,
  setUp,
} from "../vfio/nesting/op-program.ts";
import type { Result } from "../vfio/program.ts";

type Scene = ReturnType<typeof setUp>;

/** What provokes each errno, once for each thing that the page names. PASID 7 is bound. */
const PROVOKED: Record<string, Record<string, (scene: Scene) => Result>> = {
  ENOTTY: {
    "the host speaks another interface": () => {
      const program = new NestingProgram(nestingHost("mainline"));
      return op(program, program.container(3, 3).container, rfc.VFIO_IOMMU_OP_INVALIDATE, new Uint8Array(40));
    },
  },
  EFAULT: {
    "the argument cannot be read": ({ program, container }) => program.ioctl(container, rfc.VFIO_IOMMU_OP, 8),
    "its data cannot be read": ({ program, container }) => {
      const end = program.memory(4096) + 4096;
      program.task.memory.copyOut(end - 16, rfc.VfioIommuOperation.encode({ argsz: 56, op: 4 }), 16);
      return program.ioctl(container, rfc.VFIO_IOMMU_OP, end - 16);
    },
    "PROBE's answer cannot be written": ({ program, container }) => {
      const page = program.memory(4096);
      program.task.memory.copyOut(page, rfc.VfioIommuOperation.encode({ argsz: 32, flags: 1 }), 16);
      program.task.memory.mprotect(page, 4096, PROT_READ);
      return program.ioctl(container, rfc.VFIO_IOMMU_OP, page);
    },
  },
  EINVAL: {
    argsz: ({ program, container }) => op(program, container, 4, new Uint8Array(40), { argsz: 15 }),
    flags: ({ program, container }) => op(program, container, 4, new Uint8Array(40), { flags: 2 }),
    "reserved fields": ({ program, container }) => invalidate(program, container, { reserved: 1 }),
    "model 0": ({ program, container }) => invalidate(program, container, { model: 0 }),
    lengths: ({ program, container }) => invalidate(program, container, { length: 8 }),
    combinations: ({ program, container }) => invalidate(program, container, { scope: 2, size: 4096n }),
    addresses: ({ program, container, guest }) => bindTable(program, container, 9, guest.root + 8n),
    granularities: ({ program, container }) =>
      descriptors(program, container, encodeDescriptor("iotlb", { granularity: 0 })),
    "reserved bits": ({ program, container }) => descriptors(program, container, { low: 2n | (2n << 4n), high: 128n }),
  },
  E2BIG: {
    "argsz beyond 4112": ({ program, container }) => op(program, container, 4, new Uint8Array(40), { argsz: 4113 }),
    "argsz of PROBE beyond 4112": ({ program, container }) => probe(program, container, 4097) as Result,
    "bytes behind what is known": ({ program, container }) =>
      op(program, container, 2, new Uint8Array([9, 0, 0, 0, 0, 0, 0, 0, 1])),
  },
  EOPNOTSUPP: {
    "an unknown operation": ({ program, container }) => op(program, container, 5, new Uint8Array(40)),
    "another model": ({ program, container }) => invalidate(program, container, { model: 2 }),
    "a PASID table on mediated devices": ({ program }) => {
      const { container } = program.container(11, 3);
      return bindPasidTable(program, container, 0n);
    },
  },
  ENODEV: {
    "a bind with a device that no IOMMU serves": ({ program, container, guest }) => {
      program.add(container, 20);
      return bindTable(program, container, 9, guest.root);
    },
    "an unbind while nothing is bound": ({ program }) => {
      const { container } = program.container(20, 3);
      return bindTable(program, container, 9, 0n, { flags: 1 });
    },
    "an INVALIDATE while nothing is bound": ({ program }) => {
      const { container } = program.container(20, 3);
      return invalidate(program, container, {});
    },
  },
  EBUSY: {
    "the PASID is bound": ({ program, container, guest }) => bindTable(program, container, 7, guest.root),
    "for a process": ({ program, container }) => bindProcess(program, container, 7),
    "a PASID table beside a PASID": ({ program, container, guest }) =>
      bindPasidTable(program, container, guest.page(12)),
    "a PASID beside a PASID table": ({ program }) => {
      const { container } = program.container(4, 3);
      bindPasidTable(program, container, 0x10_0000n);
      return bindTable(program, container, 9, 0n);
    },
  },
  EPERM: {
    "a descriptor": ({ program, container }) =>
      descriptors(program, container, encodeDescriptor("pasidCache", { granularity: 3 })),
    "a source-id": ({ program, container }) =>
      invalidate(
        program,
        container,
        { scope: 1, pasid: 7 },
        rfc.IntelIommuInvalidateHints.encode({ source_id: OTHER_SOURCE }),
      ),
  },
  ENOSPC: {
    "the quota": ({ program, container, guest }) => {
      program.host.parameters.write("vfio_iommu_type1/pasid_quota", "1");
      return bindTable(program, container, 9, guest.root);
    },
  },
};

const cases = Object.entries(PROVOKED).flatMap(([errno, ways]) =>
  Object.entries(ways).map(([way, provoke]) => [errno, way, provoke] as const),
);

describe("the errnos of VFIO_IOMMU_OP", () => {
  test("every errno of docs/iommu-op.md is provoked, and no other", () => {
    const page = readFileSync(join(ROOT, "docs/iommu-op.md"), "utf8");
    const section = page.slice(page.indexOf("\n## Errors\n"));
    const listed = [...section.matchAll(/^\| `(E\w+)` \|/gm)].map((match) => match[1]);
    expect(listed).toEqual(Object.keys(PROVOKED));
  });

  test.each(cases)("%s: %s; and what is bound stays", (errno, _way, provoke) => {
    const scene = setUp();
    const { program, container, guest } = scene;
    expect(bindTable(program, container, 7, guest.root), program.reason).toBe(0);
    expect(provoke(scene)).toBe(errno);
    expect(dmaRead(program, container, EDU, 7, 0n)).toBe(4n);
    expect(dmaRead(program, container, EDU, 9, 0n)).toMatch(/not present/);
  });
});
