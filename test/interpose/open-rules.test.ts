import fs from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Build, finish } from "./build.ts";

const NOBODY = 65534;
const root = process.getuid?.() === 0;
/** The client makes up to ninety thousand opens. */
const PATIENCE_MS = 180_000;

let build: Build;
let client: string;

beforeAll(() => {
  build = new Build();
  client = build.client("open-rules.c", "open-rules")!;
});
afterAll(() => build.remove());

function everybodysDirectory(name: string): string {
  const directory = build.path(name);
  fs.mkdirSync(directory);
  fs.chmodSync(directory, 0o777);
  return directory;
}

test.runIf(root)(
  "a node is opened, or refused, as the kernel does with a device beside it, by root and by others",
  async () => {
    const { stdout } = await build.run({}, client, everybodysDirectory("as-root"), "12");
    expect(stdout).toMatch(/^8\d{4} opens, 0 differ\n$/);
  },
  PATIENCE_MS,
);

test(
  "and by an ordinary user",
  async () => {
    const command = build.command({}, client, everybodysDirectory("as-user"), "12");
    const { stdout } = await finish(command, root ? { uid: NOBODY, gid: NOBODY } : {});
    expect(stdout).toMatch(/^\d{4} opens, 0 differ\n$/);
  },
  PATIENCE_MS,
);
