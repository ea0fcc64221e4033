// What scripts/arm64-guest.sh runs in its machine: the command on real programs, and every recorded call of real kernels.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { brotliDecompressSync } from "node:zlib";

const RANGES = "valid iova 0000000000000000 - 00000000fedfffff\nvalid iova 00000000fef00000 - 01ffffffffffffff\n";
const REFUSED = /^uvfio: iova-ranges\[\d+\]: VFIO_IOMMU_MAP_DMA = EINVAL: iova 0xfee00000-0xfee00fff overlaps .*\n$/;
/** Of test/recordings: the larger ones take many minutes here. s390x is big-endian. */
const RECORDINGS = ["amd-ivmd", "intel39-resv-k72fd", "smmuv3", "s390x-ap0"];
const USER = { uid: 1000, gid: 1000 };
let failures = 0;

await check("uvfio --version", () => equal(uvfio({}, "--version"), { stdout: /^\d+\.\d+\.\d+\n$/ }));
await check("a program, as root", () => ranges({}));
await check("a program, as an ordinary user", () => ranges(USER));
await check("the code that V8 compiled is kept", () => readdirSync("/tmp/.cache/uvfio").length > 0);
await check("memory that is looked at aside, by a thread in machine code", () =>
  equal(
    uvfio({}, "run", "--", "sh", "-c", "mkdir -p /tmp/m && mount -t tmpfs none /tmp/m && iova-ranges 0000:00:1b.0"),
    {
      stdout: RANGES,
      stderr: REFUSED,
    },
  ),
);
await check("calls that are looked ahead for, by a chain of system calls in machine code", () =>
  equal(uvfio({}, "run", "-q", "--", "early-looks", "0000:00:1b.0", "5000", "1"), { stdout: "5000 steps\n" }),
);
await check("a driver of edu through /dev/iommu: DMA, and which pages it wrote", () =>
  equal(uvfio({}, "run", "-m", "lab", "--", "iommufd-edu", "0000:03:00.0", "dirty"), {
    stdout: "taken: 0x8000000000000018\n",
  }),
);
await check("a program whose uvfio is killed is told", killed);
await check("whether a guest fits", () =>
  equal(uvfio({}, "fit", "-m", "arm", "--memory", "64G"), { stdout: /^It fits\.\n/ }),
);
for (const name of RECORDINGS) await check(`recorded calls: ${name}`, () => replay(`${name}.json.br`));
console.log(failures === 0 ? "ARM64: all passed" : `ARM64: ${failures} failed`);

async function check(name, run) {
  const start = Date.now();
  let fault;
  try {
    if ((await run()) === false) fault = "no";
  } catch (error) {
    fault = error.message;
  }
  if (fault !== undefined) failures++;
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  console.log(fault === undefined ? `ok      ${name} (${seconds} s)` : `FAILED  ${name} (${seconds} s): ${fault}`);
}

function uvfio(options, ...args) {
  return spawnSync("uvfio", args, { encoding: "utf8", ...options });
}

/** It ended well, and what it printed contains or matches what is given. */
function equal({ status, stdout, stderr }, wanted) {
  const has = (text, part) => part === undefined || (part instanceof RegExp ? part.test(text) : text.includes(part));
  if (status !== 0 || !has(stdout, wanted.stdout) || !has(stderr, wanted.stderr))
    throw new Error(`status ${status}\n${stdout}${stderr}`);
}

function ranges(options) {
  equal(uvfio(options, "run", "--", "iova-ranges", "0000:00:1b.0"), { stdout: RANGES, stderr: REFUSED });
}

async function killed() {
  const child = spawn("uvfio", ["run", "--", "sh", "-c", "sleep 1000 & sleep 3; echo $$; wait"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [pid] = await once(child.stdout, "data");
  child.kill("SIGKILL");
  const deadline = Date.now() + 120_000;
  while (existsSync(`/proc/${Number(pid)}`) && Date.now() < deadline)
    await new Promise((done) => setTimeout(done, 100));
  return !existsSync(`/proc/${Number(pid)}`);
}

/** A bundle (test/recordings/bundle.ts) through `uvfio replay`, which compares every answer. */
function replay(file) {
  const { host, scenarios } = JSON.parse(brotliDecompressSync(readFileSync(`/uvfio/${file}`)));
  const folder = `/tmp/${file}`;
  mkdirSync(folder);
  writeFileSync(`${folder}/host.json`, host);
  const files = Object.entries(scenarios).map(([name, text]) => {
    writeFileSync(`${folder}/${name}.jsonl`, text);
    return `${folder}/${name}.jsonl`;
  });
  const { status, stdout, stderr } = uvfio({}, "replay", "-m", `${folder}/host.json`, ...files);
  if (status !== 0) throw new Error(`status ${status}\n${stdout.slice(-500)}${stderr}`);
}
