import { alternate, median, times } from "../lib/measure.mjs";
import { DEVICE, DMA_ENGINE } from "../lib/programs.mjs";

const ROUNDS = { quick: 5, long: 15 };
const CALLS = 15_000;
const SUPERVISOR =
  "the same calls served by a C program (`bench/c/supervisor.c`) that finds the file and copies structures in the same way";

/** @returns {import("../lib/workload.mjs").Workload} */
function trapped(call, name, measures, explanation, { device = DEVICE, host, options, atMost = 1.15 } = {}) {
  return {
    name,
    measures,
    baseline: SUPERVISOR,
    target: { atMost },
    explanation,
    run: (programs) =>
      alternate(
        programs.long ? ROUNDS.long : ROUNDS.quick,
        () => median(times(programs.uvfio(programs.calls(call, CALLS, device), { host }))),
        () => median(times(programs.supervisor(programs.calls(call, CALLS), options))),
      ),
  };
}

export const workloads = [
  trapped(
    "version",
    "VFIO_GET_API_VERSION",
    "the least that a trapped call can be: a notification, the file behind the descriptor, an answer",
    `Four system calls serve it on both sides: epoll_wait, NOTIF_RECV, a read of an open /proc/TID/fdinfo/N, NOTIF_SEND. A filter knows a file
only by its number, so that has to be asked each time. One call out of JavaScript makes all four (\`src/interpose/next-call.ts\`); what is left
is that one, and what JavaScript does in between, a third of a microsecond each (\`perf\`).`,
  ),
  trapped(
    "info",
    "VFIO_IOMMU_GET_INFO",
    "one structure copied in and one out",
    `Two system calls more on both sides: here a read and a write of /proc/PID/mem, which take less time than process_vm_readv and
process_vm_writev; and a PROCMAP_QUERY, because the memory may be protected. The capability chain is encoded when the container has changed, not for
each call.`,
  ),
  trapped(
    "map-unmap",
    "VFIO_IOMMU_MAP_DMA and UNMAP_DMA of 4 KiB",
    "one mapping made and taken away again: two calls",
    `MAP_DMA asks more than its arguments: the caller's capabilities and the user namespace they count in, its RLIMIT_MEMLOCK, the mapping of
its memory. Both sides find that out with the same three system calls (capget, prlimit64, PROCMAP_QUERY), and remember the user namespace. For both
calls uvfio also asks which mapping the structure is in. MAP_DMA comes to JavaScript when all of that has been looked at (\`src/interpose/early-looks.ts\`).`,
  ),
  trapped(
    "register",
    "a register by pread",
    "pread of a register of 4 bytes of a device: the call of a program that maps no registers",
    `Six system calls against five. The C program copies the value by the caller's number. uvfio asks whether the caller's memory may be written
there, and writes to the memory itself, which is never another process's (docs/memory.md). The value comes from the device's model, in
JavaScript, and what programs see of the device in mappings is compared with its registers before and afterwards: about a tenth of the time.`,
    { host: "lab", device: DMA_ENGINE, options: ["--registers"], atMost: 1.5 },
  ),
  trapped(
    "interrupt",
    "an interrupt by an eventfd",
    "VFIO_DEVICE_SET_IRQS raises an interrupt of a device, and the program reads its eventfd",
    `Seven system calls against six: which mapping the 20 bytes are in is asked, too. The eventfd is signalled by a read that is over at
once and whose end the kernel tells the eventfd (io_submit): that takes twice as long as the C program's write, and waits for nobody where
the counter is full.`,
    { host: "lab", device: DMA_ENGINE, atMost: 1.5 },
  ),
];
