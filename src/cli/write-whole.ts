import { openOutput, outputName, writeAll } from "./output.ts";

/**
 * Writes a whole file, or to stdout for "-".
 * @param option what it was given with, for messages
 * @throws UsageError, OutputError
 */
export function writeWhole(path: string, option: string, text: string): void {
  const file = openOutput(path, option);
  try {
    writeAll(file.fd, Buffer.from(text), outputName(path));
  } finally {
    file.close();
  }
}
