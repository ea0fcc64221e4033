import { fail } from "./errors.ts";
import { writtenFlag, writtenNumber } from "./written-number.ts";

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
    parameter.value = parameter.type === "bool" ? Number(writtenFlag(name, text)) : writtenNumber(name, text, UINT_MAX);
  }

  #find(name: string): Parameter {
    const parameter = this.#parameters.get(name);
    if (!parameter) fail("ENOENT", `no module parameter ${name}`);
    return parameter;
  }
}
