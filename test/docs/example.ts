import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../cli/uvfio.ts";

/** A block of a page of docs/ that a comment gives a kind and a name: `<!-- KIND: NAME -->`. */
export interface Block {
  readonly kind: string;
  readonly name: string;
  readonly language: string;
  readonly text: string;
}

export function blocksOf(page: string): readonly Block[] {
  const text = readFileSync(join(ROOT, page), "utf8");
  const blocks = text.matchAll(/^<!-- (\w+): ([\w.-]+) -->\n```(\w*)\n([\s\S]*?)^```$/gm);
  return [...blocks].map(([, kind, name, language, body]) => ({
    kind: kind!,
    name: name!,
    language: language!,
    text: body!,
  }));
}

/** Blocks of code that no comment names: no test sees them. */
export function unnamedCode(page: string): readonly string[] {
  const text = readFileSync(join(ROOT, page), "utf8");
  return [...text.matchAll(/(?<!-->\n)^```(?:ts|js|c|sh)\n([\s\S]*?)^```$/gm)].map(([, body]) => body!);
}
