// A joined module asks for another one when it first uses something of it, and not when it begins: so a command runs, reads and has compiled what
// it needs and no more. Modules of ours do nothing when they begin but make what they export, so that it does not matter when they do.
import { posix } from "node:path";
import { parseAst } from "rolldown/parseAst";

/**
 * @param code a module as rolldown writes it for require(), with all imports at its beginning
 * @param name the module's own
 * @param numberOf the number of a joined module by its name
 * @returns the module with what the loader takes in the place of names (scripts/start/modules.mjs)
 */
export function lazyModule(code, name, numberOf) {
  const resolved = (id) => (id.startsWith(".") ? numberOf(posix.join(posix.dirname(name), id)) : JSON.stringify(id));
  const edits = [];
  const imports = new Map();
  const program = parseAst(code);
  for (const statement of program.body) {
    const imported = importedBy(statement);
    if (imported) {
      const { variable, id } = imported;
      if (variable !== undefined) imports.set(variable, { short: `$${imports.size}`, id: resolved(id) });
      edits.push([statement.start, statement.end, ""]);
    } else if (isInterop(statement, imports)) edits.push([statement.start, statement.end, ""]);
    else {
      walk(statement, (node, parent) => {
        if (node.type === "Identifier" && imports.has(node.name) && isReference(node, parent))
          edits.push([node.start, node.end, use(imports.get(node.name))]);
        const id = required(node);
        if (id !== undefined) edits.push([node.start, node.end, `require(${resolved(id)})`]);
      });
    }
  }
  const shorts = [...imports.values()].map(({ short }) => short);
  const lazy = `${shorts.length > 0 ? `let ${shorts.join(", ")};` : ""}${edited(code, edits).trimStart()}`;
  // Where something else has the name of an import, it is a mistake of syntax now.
  parseAst(lazy);
  return lazy;
}

function use({ short, id }) {
  return `(${short} ??= require(${id}))`;
}

/** `const x = require("id")`, or `require("id")` alone. */
function importedBy(statement) {
  if (statement.type === "ExpressionStatement") {
    const id = required(statement.expression);
    return id === undefined ? undefined : { id };
  }
  if (statement.type !== "VariableDeclaration" || statement.declarations.length !== 1) return undefined;
  const [{ id: variable, init }] = statement.declarations;
  const id = init ? required(init) : undefined;
  return id === undefined || variable.type !== "Identifier" ? undefined : { variable: variable.name, id };
}

/** `x = require_runtime.__toESM(x)`: the loader does that once for all. */
function isInterop({ type, expression }, imports) {
  return (
    type === "ExpressionStatement" &&
    expression.type === "AssignmentExpression" &&
    imports.has(expression.left.name) &&
    expression.right.callee?.property?.name === "__toESM"
  );
}

function required(node) {
  const { type, callee, arguments: args } = node;
  return type === "CallExpression" && callee.name === "require" && args.length === 1 && args[0].type === "Literal"
    ? args[0].value
    : undefined;
}

function isReference(node, parent) {
  if (parent.type === "MemberExpression") return parent.object === node || parent.computed;
  if (parent.type === "Property" && parent.shorthand) throw new Error(`${node.name} is a property of its own name`);
  return parent.type !== "Property" || parent.key !== node;
}

function walk(node, visit, parent) {
  visit(node, parent);
  for (const value of Object.values(node))
    for (const child of Array.isArray(value) ? value : [value])
      if (typeof child?.type === "string") walk(child, visit, node);
}

function edited(code, edits) {
  let text = "";
  let at = 0;
  for (const [start, end, replacement] of edits.sort((a, b) => a[0] - b[0])) {
    text += code.slice(at, start) + replacement;
    at = end;
  }
  return text + code.slice(at);
}
