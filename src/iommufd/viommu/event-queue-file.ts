import { fail, KernelError } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import { IommufdVeventHeader } from "../../uapi/iommufd-viommu.ts";
import { QueueFile } from "../events/queue-file.ts";
import type { EventQueue } from "./event-queue.ts";

/** The descriptor of an event queue, from which events are read. It keeps the queue, and its iommufd. */
export class EventQueueFile extends QueueFile<EventQueue> {
  /**
   * eventq.c:iommufd_veventq_fops_read. Whole events, as many as there is room for; 0 when nothing waits. EINVAL for
   * less room than the first one takes. A head that was written stays written when its body cannot be.
   */
  override read(task: Task, address: Word, count: number, offset: Word): number {
    if (offset) fail("ESPIPE", "events are read without an offset");
    const { size } = IommufdVeventHeader;
    if (count < size) fail("EINVAL", `an event has ${size} bytes at least, there is room for ${count}`);
    const queue = this.queue;
    let done = 0;
    for (let event = queue.next; event && done + size <= count; event = queue.next) {
      const { flags, sequence, body } = event;
      const whole = size + body.length;
      if (done + whole > count) {
        if (done === 0) fail("EINVAL", `the next event has ${whole} bytes, there is room for ${count}`);
        break;
      }
      try {
        const head = IommufdVeventHeader.encode({ flags, sequence }, 0, task.memory.littleEndian);
        task.memory.copyOut(wordAdd(address, done), head, size);
        if (body.length > 0) task.memory.copyOut(wordAdd(address, done + size), body, body.length);
      } catch (error) {
        if (done > 0 && error instanceof KernelError) return done;
        throw error;
      }
      queue.take();
      done += whole;
    }
    return done;
  }
}
