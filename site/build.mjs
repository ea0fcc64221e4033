// npm run docs:site: makes site/dist of docs/*.md and of the doc comments of what the package exports. A dead link, and an exported name without a doc
// comment, end it with an error. The pages load nothing from anywhere else.
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Application } from "typedoc";
import { build } from "vitepress";
import { splitErrors } from "./split-errors.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = fileURLToPath(new URL("..", import.meta.url));
const pages = join(here, ".pages");
const out = join(here, "dist");

rmSync(pages, { recursive: true, force: true });
mkdirSync(pages);
copyPages();
await makeReference();
await build(here);
refuseForeignAssets();
console.log(
  `site/dist: ${readdirSync(out, { recursive: true }).filter((name) => name.endsWith(".html")).length} pages`,
);

/** The pages of docs/, one page a request for the errors, and those of the repository that they link to. */
function copyPages() {
  for (const name of readdirSync(join(root, "docs"))) {
    if (name === "errors.md") continue;
    if (name.endsWith(".md")) writePage(name, withinSite(read(`docs/${name}`)));
    else if (/\.(svg|png)$/.test(name)) cpSync(join(root, "docs", name), join(pages, name));
    // files that are handed out as they are
    else cpSync(join(root, "docs", name), join(pages, "public", name), { recursive: true });
  }
  mkdirSync(join(pages, "errors"));
  for (const { name, text } of splitErrors(read("docs/errors.md"))) writePage(name, text);
  for (const name of ["README", "CONTRIBUTING", "CHANGELOG", "SECURITY"])
    writePage(`${name === "SECURITY" ? "report-a-weakness" : name.toLowerCase()}.md`, withinSite(read(`${name}.md`)));
}

/** Links as they are once all pages lie in one folder. */
function withinSite(text) {
  const moved = {
    README: "readme",
    CONTRIBUTING: "contributing",
    CHANGELOG: "changelog",
    SECURITY: "report-a-weakness",
  };
  const handedOut = text.replace(/\[([^\]]*)\]\((ci\/[\w.-]+)\)/g, '<a href="./$2" download>$1</a>');
  return handedOut.replace(
    /\]\((?:\.\.\/|docs\/)?([\w.-]+)\.(md|svg|png)(#[\w-]*)?\)/g,
    (_, name, kind, anchor = "") => {
      if (name === "errors") return `](./errors/index.md${anchor})`;
      return `](./${moved[name] ?? name}.${kind}${anchor})`;
    },
  );
}

/** The reference, a page a name, in .pages/api. */
async function makeReference() {
  const app = await Application.bootstrapWithPlugins({ options: join(here, "typedoc.json") });
  const project = await app.convert();
  if (!project) throw new Error("typedoc has made nothing");
  app.validate(project);
  await app.generateOutputs(project);
  if (app.logger.hasWarnings() || app.logger.hasErrors())
    throw new Error("what the package exports is not documented as a whole (see above)");
}

/** Nothing in a page may come from another host when it is opened. */
function refuseForeignAssets() {
  for (const name of readdirSync(out, { recursive: true, encoding: "utf8" })) {
    if (!/\.(html|css)$/.test(name)) continue;
    const text = readFileSync(join(out, name), "utf8");
    const foreign =
      /<(?:script|img|iframe|source)[^>]+src="(?:https?:)?\/\/|<link[^>]+href="(?:https?:)?\/\/|url\(["']?(?:https?:)?\/\/|@import/.exec(
        text,
      );
    if (foreign) throw new Error(`${name} loads something from elsewhere: ${foreign[0]}`);
  }
}

function read(name) {
  return readFileSync(join(root, name), "utf8");
}

function writePage(name, text) {
  writeFileSync(join(pages, name), text);
}
