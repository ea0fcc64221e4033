// docs/errors.md is one file; on the site each request has a page, so that a search finds the request and not the file.

/** The pages that docs/errors.md becomes. @returns their names below the pages' folder, and their text */
export function splitErrors(markdown) {
  const [head, ...rest] = markdown.split(/^## /m);
  const intro = head.replace(/\]\(([\w-]+\.md)/g, "](../$1");
  const pages = [];
  let requests = "";
  let beside = "";
  for (const section of rest) {
    const [title, ...bodies] = section.split(/^### /m);
    if (title.startsWith("Requests")) requests = title.replace(/^Requests\n/, "");
    else beside = title.replace(/^[^\n]*\n/, "").trim();
    for (const body of bodies) {
      const heading = body.slice(0, body.indexOf("\n"));
      const isSource = title.startsWith("Also possible");
      const name = `${isSource ? "also-" : ""}${fileName(heading)}`;
      pages.push({
        name,
        heading,
        isSource,
        text: `# ${heading}\n${body.slice(heading.length)}\n[All requests](index.md)\n`,
      });
    }
  }
  const list = (isSource) =>
    pages
      .filter((page) => page.isSource === isSource)
      .map(({ name, heading }) => `- [${heading}](${name}.md)`)
      .join("\n");
  const index = `${intro}
Each request has a page:

${list(false)}

## Requests
${requests}
## Also possible

${beside}

${list(true)}
`;
  return [
    { name: "errors/index.md", text: index },
    ...pages.map(({ name, text }) => ({ name: `errors/${name}.md`, text })),
  ];
}

function fileName(heading) {
  return heading
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
}
