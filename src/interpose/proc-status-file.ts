import { FileDescription } from "../kernel/file-description.ts";
import type { Task } from "../kernel/task.ts";
import type { Word } from "../kernel/word.ts";

/** /proc/PID/status of a process that the model holds memory of, as it was when it was opened. */
export class ProcStatusFile extends FileDescription {
  override readonly kind = "foreign";
  override readonly label: string;
  readonly #text: Buffer;

  /**
   * @param text what the machine's kernel says
   * @param kilobytes what the model adds to the lines of that name
   */
  constructor(pid: number, text: string, kilobytes: Readonly<Record<string, number>>) {
    super();
    this.label = `/proc/${pid}/status`;
    const added = text.replace(/^(\w+):(\s+)(\d+) kB$/gm, (line, name: string, _gap, value: string) => {
      const more = kilobytes[name];
      return more === undefined ? line : `${name}:\t${String(Number(value) + more).padStart(8)} kB`;
    });
    this.#text = Buffer.from(added, "latin1");
  }

  override get isRead(): boolean {
    return true;
  }

  override read(task: Task, address: Word, count: number, offset: Word): number {
    const part = this.#text.subarray(Number(offset), Number(offset) + count);
    if (part.length > 0) task.memory.copyOut(address, part, part.length);
    return part.length;
  }
}
