import { WINDOW_END, WINDOW_FIRST } from "../descriptor-window.ts";
import {
  AT_EMPTY_PATH,
  KVM_SET_DEVICE_ATTR,
  MAP_ANONYMOUS,
  MAP_SHARED,
  MS_BIND,
  MS_MOVE,
  MS_PRIVATE,
  MS_REMOUNT,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
  O_ACCMODE,
  O_PATH,
  O_RDWR,
  USERFAULTFD_IOC_NEW,
} from "../linux.ts";

/** One comparison of an argument, as the OCI runtime specification has it (linux.seccomp.syscalls.args). */
export interface Comparison {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: "SCMP_CMP_LT" | "SCMP_CMP_LE" | "SCMP_CMP_GT" | "SCMP_CMP_GE" | "SCMP_CMP_MASKED_EQ";
}

/** Calls that are handed over, or that are not: all comparisons hold. */
export interface Rule {
  readonly isOurs: boolean;
  readonly args: readonly Comparison[];
}

/** What is decided about calls of these names. */
export interface CallRules {
  readonly names: readonly string[];
  /** No two of them fit one call with different outcomes, and each call fits one: libseccomp knows no order. */
  readonly rules: readonly Rule[];
  /** What is handed over too, where everything else is allowed. */
  readonly further?: readonly (readonly Comparison[])[];
}

/** Region 1 of a vfio-pci device begins there (VFIO_PCI_OFFSET_SHIFT). */
const FIRST_REGION = 2 ** 40;
const REGISTER_BYTES = 8;
const LOW_32 = 0xffff_ffff;
/** VFIO's and iommufd's requests: _IO(';', n). */
const FIRST_REQUEST = 0x3b00;
const LAST_REQUEST = 0x3bff;

const below = (index: number, value: number): Comparison => ({ index, value, op: "SCMP_CMP_LT" });
const atMost = (index: number, value: number): Comparison => ({ index, value, op: "SCMP_CMP_LE" });
const above = (index: number, value: number): Comparison => ({ index, value, op: "SCMP_CMP_GT" });
const atLeast = (index: number, value: number): Comparison => ({ index, value, op: "SCMP_CMP_GE" });
const masked = (index: number, mask: number, value: number): Comparison => ({
  index,
  value: mask,
  valueTwo: value,
  op: "SCMP_CMP_MASKED_EQ",
});
const ours = (...args: readonly Comparison[]): Rule => ({ isOurs: true, args });
const others = (...args: readonly Comparison[]): Rule => ({ isOurs: false, args });

/** A descriptor that is not one of our numbers, in the two ways that there are. */
const elsewhere = (index: number) => [below(index, WINDOW_FIRST), above(index, WINDOW_END - 1)];
const inWindow = (index: number) => masked(index, (LOW_32 - (WINDOW_END - WINDOW_FIRST - 1)) >>> 0, WINDOW_FIRST);

const NEW_FILE_SYSTEM = [MS_REMOUNT, MS_BIND, MS_MOVE, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED];

const openRules = (flags: number): Rule[] => {
  const mask = O_ACCMODE | O_PATH;
  const modes = [0, 1, 2, 3];
  return [
    ...modes.map((mode) => (mode === O_RDWR ? ours : others)(masked(flags, mask, mode))),
    ...modes.map((mode) => ours(masked(flags, mask, O_PATH | mode))),
  ];
};

const emptyPathRules = (flags: number): Rule[] => [
  ours(masked(flags, AT_EMPTY_PATH, AT_EMPTY_PATH)),
  others(masked(flags, AT_EMPTY_PATH, 0)),
];

/**
 * The filter of filter.ts in libseccomp's words, which are fewer: one comparison an argument. write() is left out,
 * which runc refuses to hand over (its own handshake needs it): devices are written with an offset.
 */
export const CALL_RULES: readonly CallRules[] = [
  {
    names: ["openat2", "execve", "execveat", "unshare", "setns", "userfaultfd", "fsopen", "fstat"],
    rules: [ours()],
  },
  {
    names: ["read", "readv", "writev", "lseek"],
    rules: [ours(inWindow(0)), ...elsewhere(0).map((fd) => others(fd))],
  },
  {
    names: ["preadv", "pwritev", "preadv2", "pwritev2"],
    rules: [
      ours(inWindow(0)),
      ...elsewhere(0).flatMap((fd) => [ours(fd, atLeast(3, FIRST_REGION)), others(fd, below(3, FIRST_REGION))]),
    ],
  },
  {
    names: ["pread64", "pwrite64"],
    rules: [
      ours(inWindow(0)),
      ...elsewhere(0).flatMap((fd) => [
        ours(fd, atMost(2, REGISTER_BYTES)),
        ours(fd, above(2, REGISTER_BYTES), atLeast(3, FIRST_REGION)),
        others(fd, above(2, REGISTER_BYTES), below(3, FIRST_REGION)),
      ]),
    ],
  },
  {
    names: ["ioctl"],
    rules: [
      ours(masked(1, (LOW_32 - 0xff) >>> 0, FIRST_REQUEST)),
      others(below(1, FIRST_REQUEST)),
      others(above(1, LAST_REQUEST)),
    ],
    further: [[masked(1, LOW_32, KVM_SET_DEVICE_ATTR)], [masked(1, LOW_32, USERFAULTFD_IOC_NEW)]],
  },
  { names: ["open"], rules: openRules(1) },
  { names: ["openat"], rules: openRules(2) },
  {
    names: ["mmap"],
    rules: [
      ours(masked(3, MAP_SHARED | MAP_ANONYMOUS, MAP_SHARED)),
      others(masked(3, MAP_SHARED | MAP_ANONYMOUS, MAP_ANONYMOUS)),
      others(masked(3, MAP_SHARED | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS)),
      ...privateFile([inWindow(4)], ours),
      ...elsewhere(4).flatMap((fd) => [
        ...privateFile([fd, atLeast(5, FIRST_REGION)], ours),
        ...privateFile([fd, below(5, FIRST_REGION)], others),
      ]),
    ],
  },
  {
    names: ["mount"],
    rules: [
      ours(
        masked(
          3,
          NEW_FILE_SYSTEM.reduce((all, flag) => all | flag, 0),
          0,
        ),
      ),
      ...NEW_FILE_SYSTEM.map((flag) => others(masked(3, flag, flag))),
    ],
  },
  { names: ["newfstatat"], rules: emptyPathRules(3) },
  { names: ["statx"], rules: emptyPathRules(2) },
];

function privateFile(args: readonly Comparison[], rule: (...args: readonly Comparison[]) => Rule): Rule[] {
  return [rule(masked(3, MAP_SHARED | MAP_ANONYMOUS, 0), ...args)];
}
