import { readCapabilities, setEffective } from "./identity.ts";

/**
 * The capabilities that serving takes, where uvfio is root: to look into processes of all users (SYS_PTRACE, and
 * DAC_OVERRIDE and DAC_READ_SEARCH for what /proc shows of them), to look along paths as somebody else (SETUID,
 * SETGID), to give a file the owner of its node and still see its last close (CHOWN, LEASE), to make the nodes of
 * devices that come (MKNOD), and to pass signals on (KILL).
 */
const NEEDED = [
  0, // CAP_CHOWN
  1, // CAP_DAC_OVERRIDE
  2, // CAP_DAC_READ_SEARCH
  5, // CAP_KILL
  6, // CAP_SETGID
  7, // CAP_SETUID
  19, // CAP_SYS_PTRACE
  27, // CAP_MKNOD
  28, // CAP_LEASE
].reduce((set, capability) => set | (1 << capability), 0);

const SYS_PTRACE = 1 << 19;

/**
 * Gives up the use of all other capabilities, in the one thread that serves programs: what a program could trick it
 * into, it may not do. They stay permitted, so that another program can be started later.
 * @returns takes them back
 */
export function giveUpRights(): () => void {
  const { low, high } = readCapabilities();
  // Without CAP_SYS_PTRACE one looks into a process only with all the capabilities that it has
  // (security/commoncap.c:cap_ptrace_access_check).
  if ((low & SYS_PTRACE) === 0) return () => {};
  setEffective(low & NEEDED, 0);
  return () => setEffective(low, high);
}
