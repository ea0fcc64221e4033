import type { CallContext, Reply } from "./call-context.ts";
import { MAP_PRIVATE, MAP_TYPE, PROT_READ, PROT_WRITE } from "./linux.ts";
import { PAGE_SIZE } from "./memory-map.ts";

/** mmap, mmap2: the model says whether; the mapping itself is one of the file's memory, which the kernel makes. */
export function handleMmap(context: CallContext): Reply {
  const { listener, task, caller, files, doorbells } = context.on;
  const { abi, call } = context;
  const file = context.file(listener.int(4));
  if (file === undefined) return "native";
  const length = Number(listener.word(1, abi));
  const protection = listener.low(2);
  const offset = call === "mmap2" ? listener.low(5) * PAGE_SIZE : listener.word(5, abi);
  // What the kernel refuses for any file.
  if (length === 0 || Number(offset) % PAGE_SIZE !== 0) return "native";
  caller.prove();
  context.offset = offset;
  context.length = length;
  file.description.mmap(task, {
    offset,
    length,
    read: (protection & PROT_READ) !== 0,
    write: (protection & PROT_WRITE) !== 0,
    shared: (listener.low(3) & MAP_TYPE) !== MAP_PRIVATE,
  });
  files.noteMapping(file);
  const { tid, process } = task;
  const { instruction, isInterruptible } = listener;
  doorbells.arm({ pid: process.pid, pidfd: process.pidfd, tid, instruction, isInterruptible }, file);
  return "native";
}
