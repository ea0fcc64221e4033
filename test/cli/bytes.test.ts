import { afterAll, beforeAll, expect, test } from "vitest";
import { finished, scratchFolder, UVFIO } from "./uvfio.ts";

const folder = scratchFolder();
afterAll(() => folder.remove());

/** Runs a script of bash, which can write any byte, in the folder; $U is the command. */
function bash(script: string): { status: number | null; stdout: string; stderr: string } {
  return finished("/bin/bash", ["-c", script.replaceAll("$U", `'${process.execPath}' '${UVFIO}'`)], {
    cwd: folder.path,
  });
}

beforeAll(() => {
  bash(
    `printf 'content\\n' > $'x\\xe9'; mkdir $'d\\xe9'; cp /bin/echo $'d\\xe9/say'; cp /bin/echo $'e\\xe9'; $U hosts intel --yaml > $'h\\xe9.yaml'`,
  );
});

test("arguments", () => {
  expect(bash("$U run -- cat $'x\\xe9'").stdout).toBe("content\n");
  expect(bash("$U run -q -m lab -- cat $'x\\xe9'").stdout).toBe("content\n");
  expect(bash(`$U run printf %s $'\\xe9\\xc3\\xbc\\xf0' | od -An -tx1`).stdout.trim()).toBe("e9 c3 bc f0");
});

test("the program's name, where it lies, and along PATH", () => {
  expect(bash("$U run ./$'e\\xe9' here").stdout).toBe("here\n");
  expect(bash("PATH=$PWD:$PATH $U run $'e\\xe9' found").stdout).toBe("found\n");
  expect(bash("PATH=$PWD/$'d\\xe9':$PATH $U run say found").stdout).toBe("found\n");
  expect(bash("cd $'d\\xe9' && $U run ./say below").stdout).toBe("below\n");
});

test("the environment", () => {
  expect(bash(`V=$'v\\xe9' $U run sh -c 'printf %s "$V"' | od -An -tx1`).stdout.trim()).toBe("76 e9");
});

test("a host file and a trace", () => {
  const { status, stderr } = bash("$U run -m $'h\\xe9.yaml' --trace $'t\\xe9' -- true && test -s $'t\\xe9'");
  expect([status, stderr]).toEqual([0, ""]);
});

test("paths that programs open", () => {
  const script = `ln -s /dev/vfio/vfio $'d\\xe9/node'; $U run --trace t -- sh -c 'exec 3<>"$1"' sh $'d\\xe9/node'; grep -c /dev/vfio/vfio t`;
  expect(bash(script).stdout).toBe("1\n");
});

test("a name that is not there is said so in one line", () => {
  const { status, stderr } = bash("$U run ./$'gone\\xe9'");
  expect(status).toBe(2);
  expect(stderr).toBe("uvfio: ./gone\ufffd: no such file\n");
});
