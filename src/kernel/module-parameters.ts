import { fail } from "./errors.ts";

/** How the kernel reads and prints a module parameter (kernel/params.c). */
export type ParameterType = "uint" | "bool";

interface Parameter {
  readonly type: ParameterType;
  readonly writable: boolean;
  value: number;
}

const UINT_MAX = 0xffff_ffff;

/** The parameters of the host's modules, by "module/parameter". */
export class ModuleParameters {
  readonly #parameters = new Map<string, Parameter>();

  define(name: string, type: ParameterType, value: number | boolean, writable: boolean): void {
    this.#parameters.set(name, { type, writable, value: Number(value) });
  }

  has(name: string): boolean {
    return this.#parameters.has(name);
  }

  /** The value; a bool is 0 or 1. */
  get(name: string): number {
    return this.#find(name).value;
  }

  /** As reading its file in /sys gives it. */
  text(name: string): string {
    const { type, value } = this.#find(name);
    return type === "bool" ? `${value ? "Y" : "N"}\n` : `${value}\n`;
  }

  /** As writing its file in /sys does: EACCES, EINVAL (no number), ERANGE (beyond 32 bits). */
  write(name: string, text: string): void {
    const parameter = this.#find(name);
    if (!parameter.writable) fail("EACCES", `parameter ${name} is read-only`);
    parameter.value = parameter.type === "bool" ? parseBool(name, text) : parseUint(name, text);
  }

  #find(name: string): Parameter {
    const parameter = this.#parameters.get(name);
    if (!parameter) fail("ENOENT", `no module parameter ${name}`);
    return parameter;
  }
}

/** kstrtouint() with base 0: decimal, 0x hexadecimal or 0 octal, one newline allowed behind it. */
function parseUint(name: string, text: string): number {
  const match = /^\+?(0x[0-9a-f]+|0[0-7]*|[1-9]\d*)\n?$/i.exec(text);
  if (!match) fail("EINVAL", `"${text.trim()}" is not a number that ${name} takes (0..${UINT_MAX}, 0x... allowed)`);
  const digits = match[1]!;
  const value = BigInt(/^0[0-7]/.test(digits) ? `0o${digits.slice(1)}` : digits);
  if (value > BigInt(UINT_MAX)) fail("ERANGE", `${digits} is more than ${name} can hold (${UINT_MAX})`);
  return Number(value);
}

/** kstrtobool(). */
function parseBool(name: string, text: string): number {
  if (/^([yt1]|on)/i.test(text)) return 1;
  if (/^([nf0]|of)/i.test(text)) return 0;
  fail("EINVAL", `"${text.trim()}" is neither yes nor no, as ${name} takes it`);
}
