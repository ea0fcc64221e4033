import { HOST_CALLS } from "../host-calls.ts";
import { PR_SET_PTRACER, RLIMIT_NOFILE, SCM_RIGHTS, SIGACTION_SIZE, SIGSET_SIZE, SOL_SOCKET } from "../linux.ts";
import { inheritedOpenFiles } from "../process-facts.ts";
import type { CallList } from "./call-list.ts";

const SIGPIPE = 13;
const SIGXFSZ = 25;
/** glibc's own. */
const SIGCANCEL = 32;
const SIGSETXID = 33;
/** Stands for "no limit" and "no offset". */
const NONE = -1;
const CMSG_HEADER = 16;

/**
 * Makes a process of this one what a program finds.
 * @param supervisor the process that will look into it: Yama lets an ordinary user look into a program that is no child
 * of this process only where the program allows it
 */
export function restoreProcess(list: CallList, supervisor: number): void {
  list.call(HOST_CALLS.prctl, [PR_SET_PTRACER, supervisor]);
  restoreSignals(list);
  restoreOpenFiles(list);
}

/** A struct msghdr with a byte and a descriptor of the process (unix(7)), in its memory. */
export function descriptorMessage(list: CallList, descriptor: number) {
  const bytes = list.words([list.words([0]), 1]);
  // struct cmsghdr: len u64, level s32, type s32, data
  const control = list.words([CMSG_HEADER + 4, SOL_SOCKET + SCM_RIGHTS * 0x1_0000_0000, descriptor]);
  return list.words([0, 0, bytes, 1, control, CMSG_HEADER + 8, 0]);
}

/**
 * What node, and glibc's posix_spawn(), have ignored, because "ignored" survives execve(); all others are as a program
 * finds them.
 */
function restoreSignals(list: CallList): void {
  const standard = list.words(new Array(SIGACTION_SIZE / 8).fill(0));
  for (const signal of [SIGPIPE, SIGXFSZ, SIGCANCEL, SIGSETXID])
    list.call(HOST_CALLS.rt_sigaction, [signal, standard, 0, SIGSET_SIZE]);
}

function restoreOpenFiles(list: CallList): void {
  const limit = inheritedOpenFiles();
  if (limit === null) return;
  const number = (files: number) => (files === Number.POSITIVE_INFINITY ? NONE : files);
  const words = list.words([number(limit.soft), number(limit.hard)]);
  list.call(HOST_CALLS.prlimit64, [0, RLIMIT_NOFILE, words, 0]);
}
