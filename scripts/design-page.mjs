// npm run docs:design: writes the table of the parts of src/ into docs/design.md.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { withTable } from "./design/parts.mjs";

const path = fileURLToPath(new URL("../docs/design.md", import.meta.url));
writeFileSync(path, withTable(readFileSync(path, "utf8")));
