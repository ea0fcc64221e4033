// npm run docs:picture: writes docs/valid-ranges.svg: what can be mapped on the host `amd`, and a guest's memory in it, as two versions of QEMU place
// it: what `uvfio fit --svg` draws, with two guests. Needs dist/.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const HOST = "amd";
const GUESTS = [
  { memory: "1011G", vmm: "pc-q35-7.0" },
  { memory: "1011G", vmm: "pc-q35-7.1" },
];

/** The picture as text. @param library what asks (fit), and what draws (fitSvgMap) */
export async function validRangesPicture(library) {
  return library.fitSvgMap(await Promise.all(GUESTS.map((guest) => library.fit({ host: HOST, ...guest }))));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = new URL("..", import.meta.url);
  const { fit } = await import(new URL("dist/index.js", root));
  const { fitSvgMap } = await import(new URL("dist/library/fit/fit-map.js", root));
  writeFileSync(new URL("docs/valid-ranges.svg", root), await validRangesPicture({ fit, fitSvgMap }));
  console.log("docs/valid-ranges.svg is written");
}
