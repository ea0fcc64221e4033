// npm runs this in a fresh checkout (npm ci) and where uvfio is installed straight from git: without dist/ there is no command. Without the compiler
// (npm ci --omit=dev) there is nothing to build with. As "preprepare", because npm warns of every tarball that has a "prepare".
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
if (existsSync(`${root}/node_modules/typescript`)) {
  const { status } = spawnSync("npm", ["run", "--silent", "build"], { cwd: root, stdio: "inherit" });
  process.exitCode = status ?? 1;
} else console.error("uvfio: not built: the development packages are not installed");
