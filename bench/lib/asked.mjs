import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** A program that answers each line with one line, so that it can be measured in turn with others that keep what they have made. */
export class AskedProgram {
  #child;
  #answers;

  constructor([program, ...args]) {
    this.#child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Returns the numbers of the answer. */
  async ask(line) {
    this.#child.stdin.write(`${line}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`${this.#child.spawnargs.join(" ")} ended at: ${line}`);
    return value.split(" ").map(Number);
  }

  end() {
    this.#child.stdin.end();
    this.#child.kill();
  }
}
