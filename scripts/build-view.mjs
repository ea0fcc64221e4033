// Makes dist/view/, the page of `uvfio view` and `uvfio run --view`, from view/: its modules, and those of src/ that it shares with the command, as one
// script. The page loads nothing else.
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { rolldown } from "rolldown";
import { dist, root } from "./joined/join.mjs";

const target = join(dist, "view");
rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
for (const [from, to] of [
  ["index.html", "index.html"],
  ["page.css", "page.css"],
  ["icon.svg", "icon.svg"],
])
  copyFileSync(join(root, "view", from), join(target, to));
const bundle = await rolldown({ input: join(root, "view/src/main.ts"), platform: "browser", logLevel: "warn" });
await bundle.write({ file: join(target, "page.js"), format: "esm", minify: true, comments: false });
await bundle.close();
