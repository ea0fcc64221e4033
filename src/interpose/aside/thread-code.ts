import { codeBytes, loadMachineCode } from "../machine-code.ts";

/**
 * What a thread runs that makes system calls in our place (aside-thread.ts): no JavaScript, because a thread of node's
 * takes tens of milliseconds to start and cannot be left behind in a call that does not end. It is given a block:
 *
 *     u32 state, u64 number @8, u64 arguments[6] @16, u64 result @64, u64 eventfd @72, u64 1 @80
 *
 * and waits (a futex) until the state says that a call is requested. When the call has been made it says so and wakes
 * who waits for it; or writes to the eventfd, when the state says by then that nobody waits any more.
 */
export const BLOCK = { number: 8, arguments: 16, result: 64, event: 72, one: 80, size: 88 } as const;
export const STATE = { idle: 0, requested: 1, finished: 2, late: 3 } as const;

interface Code {
  readonly hex: string;
  /** Where in it a signal's handler lies that does nothing. */
  readonly heard: number;
  /** Where a handler returns to; undefined where the kernel has its own place for that. */
  readonly back: number | undefined;
}

/** What test/clients/aside-x64.s and aside-arm64.s assemble to. */
const CODE: Readonly<Record<string, Code>> = {
  x64: {
    heard: 0x7d,
    back: 0x7e,
    hex: `
    4889fb8b1383fa01741983fa0374144889dfbe800000004531d2b8ca0000000f05ebe0488b4308488b7b10488b731848
    8b53204c8b53284c8b43304c8b4b380f0548894340b802000000870383f80374164889dfbe81000000ba01000000b8ca
    0000000f05eb9c488b7b48488d7350ba08000000b8010000000f05eb86c3b80f0000000f05`,
  },
  arm64: {
    heard: 0x90,
    back: undefined,
    hex: `
    f30300aa62fedf885f040071200100545f0c0071e0000054e00313aa011080d2030080d2480c80d2010000d4f6ffff17
    680640f9600641a9620e42a9641643a9010000d4602200f94100805262fe5f8861fe0388c3ffff355f0c0071e0000054
    e00313aa211080d2220080d2480c80d2010000d4e4ffff17602640f961420191020180d2080880d2010000d4deffff17c0035fd6`,
  },
};

/** The machine code for an architecture as node names it; undefined for one that has none. */
export function threadCode(architecture: string): Buffer | undefined {
  const code = CODE[architecture];
  return code === undefined ? undefined : codeBytes(code.hex);
}

let loaded: number | undefined;

/** The address of the code in this process, or a negative errno where it cannot be had. */
export function loadedThreadCode(): number {
  if (loaded === undefined) {
    const code = threadCode(process.arch);
    loaded = code === undefined ? -1 : loadMachineCode(code);
  }
  return loaded;
}

/**
 * Addresses of a signal's handler that does nothing, and of what it returns to (0: the kernel's own); undefined where
 * the code cannot be had.
 */
export function loadedHandler(): { readonly heard: number; readonly back: number } | undefined {
  const address = loadedThreadCode();
  const code = CODE[process.arch];
  if (address < 0 || code === undefined) return undefined;
  return { heard: address + code.heard, back: code.back === undefined ? 0 : address + code.back };
}
