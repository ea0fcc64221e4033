// npm run demo: shows a compiled VFIO program on the default host. Without a C compiler the project's own client takes its place:
// also a process of its own that makes real system calls.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const uvfio = join(root, "dist/command/main.js");
const device = "0000:00:1b.0";

function run(...program) {
  console.log(
    `$ uvfio run -- ${program.map((word) => word.replace(root, "").replace(/^.*\/(iova-ranges)$/, "./$1")).join(" ")}\n`,
  );
  return spawnSync(process.execPath, [uvfio, "run", "--", ...program], { stdio: "inherit" }).status ?? 1;
}

const compiler = ["cc", "gcc", "clang"].find((name) => spawnSync(name, ["--version"]).status === 0);
const scratch = mkdtempSync(join(tmpdir(), "uvfio-demo-"));
try {
  const binary = join(scratch, "iova-ranges");
  const source = "test/clients/iova-ranges.c";
  const built = compiler && spawnSync(compiler, ["-o", binary, join(root, source)], { encoding: "utf8" });
  if (built?.status === 0) {
    console.log(`$ ${compiler} -o iova-ranges ${source}`);
    process.exitCode = run(binary, device);
  } else {
    console.log(
      "No C compiler with <linux/vfio.h> here: the project's own client, a separate process, makes the system calls.",
    );
    process.exitCode = run(process.execPath, join(root, "dist/client/iova-list-main.js"), device);
  }
} finally {
  rmSync(scratch, { recursive: true });
}
