// npm run docs:errors: writes docs/errors.md, all requests with the errnos and reasons that they can fail with, and the same for `uvfio explain`
// (src/inspect/explain/known-errors.ts). Replays the packed recordings, runs the model's tests, and reads the sources for what neither provokes.
// node scripts/errors-page.mjs [--dist FOLDER] [--out FILE] [--no-tests]; a FOLDER elsewhere needs a link to node_modules in it. With --out, or
// --table-only, which takes the page as it is, nothing else is written.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { brotliDecompressSync } from "node:zlib";
import { startVitest } from "vitest/node";
import { errorsPage, observe, staticTexts, tableKeys, tableModule, watchedClasses } from "./errors/index.mjs";

/** Tests that call the model in process. */
const TESTS = ["test/vfio/", "test/iommufd/", "test/devices/", "test/iommu/"];

const root = fileURLToPath(new URL("..", import.meta.url));
const { values: options } = parseArgs({
  options: {
    dist: { type: "string", default: join(root, "dist") },
    out: { type: "string" },
    "no-tests": { type: "boolean", default: false },
    "table-only": { type: "boolean", default: false },
  },
});
const TABLE = join(root, "src/inspect/explain/known-errors.ts");
const out = options.out ?? join(root, "docs/errors.md");

if (options["table-only"]) {
  writeFileSync(TABLE, tableModule(readFileSync(out, "utf8")));
  process.exit();
}
const seen = [...(await fromRecordings()), ...(options["no-tests"] ? [] : await fromTests())];
const page = errorsPage(seen, staticTexts(join(root, "src")));
writeFileSync(out, page);
if (options.out === undefined) writeFileSync(TABLE, tableModule(page));
console.log(
  `${relative(process.cwd(), out)}: ${tableKeys(page).size} errnos of requests, ${page.split("\n").length} lines`,
);

async function fromRecordings() {
  const load = (path) => import(pathToFileURL(join(resolve(options.dist), `${path}.js`)).href);
  const { replay } = await load("inspect/replay/replay");
  const { parseOperations } = await load("inspect/replay/recorded-calls");
  const { parseHost } = await load("machine/parse-host");
  const found = new Map();
  const stop = observe(await watchedClasses(load), (error) =>
    found.set(JSON.stringify(error), { ...error, source: "recordings" }),
  );
  const folder = join(root, "test/recordings");
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".json.br"))) {
    const bundle = JSON.parse(brotliDecompressSync(readFileSync(join(folder, file))).toString());
    const host = parseHost(bundle.host, `${file}/host.json`);
    for (const [name, text] of Object.entries(bundle.scenarios)) replay(host, parseOperations(text, `${file}/${name}`));
  }
  stop();
  return [...found.values()];
}

async function fromTests() {
  const folder = mkdtempSync(join(tmpdir(), "uvfio-errors-"));
  process.env.UVFIO_ERRORS_FOLDER = folder;
  try {
    const vitest = await startVitest("test", TESTS, {
      root,
      config: false,
      watch: false,
      reporters: [{}],
      include: ["test/**/*.test.ts"],
      setupFiles: [join(root, "scripts/errors/setup-tests.mjs")],
      testTimeout: 60_000,
    });
    const failed = vitest.state.getCountOfFailedTests();
    await vitest.close();
    if (failed > 0)
      throw new Error(
        `${failed} tests failed (npx vitest run ${TESTS.join(" ")}): the page would lack what they provoke`,
      );
    const lists = readdirSync(folder).map((file) => JSON.parse(readFileSync(join(folder, file), "utf8")));
    return lists.flat().map((error) => ({ ...error, source: "tests" }));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
