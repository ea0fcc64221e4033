import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const SRC = fileURLToPath(new URL("../../src", import.meta.url));

/** What one file takes from another, or from a package. */
export interface Import {
  /** Below src/, or as it is written for a package. */
  readonly target: string;
  readonly isPackage: boolean;
  /** Gone when the file is loaded: types alone. */
  readonly isType: boolean;
}

/** All sources of the parts, below src/. */
export const FILES: readonly string[] = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((file) => /\/.*\.ts$/.test(file))
  .sort();

export const IMPORTS: ReadonlyMap<string, readonly Import[]> = new Map(FILES.map((file) => [file, importsOf(file)]));

export function partOf(file: string): string {
  return file.split("/", 1)[0]!;
}

export function textOf(file: string): string {
  return readFileSync(join(SRC, file), "utf8");
}

/** The source with spaces in the place of its comments. */
export function codeOf(file: string): string {
  return textOf(file).replaceAll(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, (comment) => comment.replaceAll(/[^\n]/g, " "));
}

function importsOf(file: string): Import[] {
  const statements = codeOf(file).matchAll(
    /(?:^(?:import|export)\s+(type\s+)?([^;"]*?)\s*from\s+|^import\s+|import\s*\(\s*)"([^"]+)"/gm,
  );
  return [...statements].map(([, type, names, target]) => {
    const isPackage = !target!.startsWith(".");
    const isType = type !== undefined || /^\{(?:\s*type\s[^,}]*,?)+\s*\}$/.test(names ?? "");
    return { target: isPackage ? target! : relative(SRC, join(SRC, dirname(file), target!)), isPackage, isType };
  });
}

/** Sets of files of which each needs all others, directly or not. */
export function circles(edges: (file: string) => readonly string[]): string[][] {
  const found: string[][] = [];
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  const visit = (file: string): number => {
    const number = order.size;
    order.set(file, number);
    lowest.set(file, number);
    open.push(file);
    for (const target of edges(file)) {
      if (!order.has(target)) lowest.set(file, Math.min(lowest.get(file)!, visit(target)));
      else if (open.includes(target)) lowest.set(file, Math.min(lowest.get(file)!, order.get(target)!));
    }
    if (lowest.get(file) === number) {
      const circle = open.splice(open.indexOf(file));
      if (circle.length > 1) found.push(circle.sort());
    }
    return lowest.get(file)!;
  };
  for (const file of FILES) if (!order.has(file)) visit(file);
  return found;
}
