import { readFileSync } from "node:fs";
import { carried } from "../../native/carried.ts";

/** A file of the page. */
export interface PageFile {
  readonly type: string;
  readonly content: Buffer | string;
}

/** What the page consists of (view/, which scripts/build-view.mjs makes dist/view/ of). */
const FILES: Readonly<Record<string, string>> = {
  "index.html": "text/html; charset=utf-8",
  "page.js": "text/javascript; charset=utf-8",
  "page.css": "text/css; charset=utf-8",
  "icon.svg": "image/svg+xml",
};

/** A file of the page by its name; undefined for all else. */
export function pageFile(name: string): PageFile | undefined {
  const type = Object.hasOwn(FILES, name) ? FILES[name] : undefined;
  if (type === undefined) return undefined;
  const content = carried?.page(name) ?? readFileSync(new URL(`../../view/${name}`, import.meta.url));
  return { type, content };
}
