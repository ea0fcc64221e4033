// The errors that the sources can give: every fail("EINVAL", `...`) and new KernelError(...), read from their syntax trees.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAst } from "rolldown/parseAst";

const THROWERS = new Set(["fail", "KernelError"]);
const ERRNO = /^E[A-Z0-9]+$/;

/**
 * Reason texts with placeholders in braces, each with the regular expression of what it becomes.
 * @returns {{ errno: string | undefined, text: string, pattern: RegExp, weight: number, file: string }[]}
 *   errno undefined: decided elsewhere than where it is thrown
 */
export function staticTexts(folder) {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
  const parsed = files.sort().map((file) => ({ file, ...partsOfFile(readFileSync(join(folder, file), "utf8")) }));
  // functions that explain may lie in other files; their names are unique enough
  const functions = new Map(parsed.flatMap((each) => [...each.functions]));
  return parsed.flatMap(({ file, calls, variables, functions: own }) =>
    textsOf(file, calls, new Map([...functions, ...own, ...variables])),
  );
}

function partsOfFile(source) {
  const functions = new Map();
  const variables = new Map();
  const calls = [];
  if (!/"E[A-Z0-9]+"|\b(fail|KernelError)\(|\breturn `/.test(source)) return { functions, variables, calls };
  walk(parseAst(source, { lang: "ts" }).body, (node) => {
    if (node.type === "FunctionDeclaration" && node.id) functions.set(node.id.name, node);
    if (node.type === "VariableDeclarator" && node.init && node.id.type === "Identifier")
      variables.set(node.id.name, node);
    if ((node.type === "CallExpression" || node.type === "NewExpression") && THROWERS.has(node.callee.name))
      calls.push(node.arguments);
  });
  return { functions, variables, calls };
}

function textsOf(file, calls, functions) {
  const found = new Map();
  for (const [code, reason] of calls) {
    if (!code || !reason) continue;
    const errnos = alternatives(code, functions).map((each) => each.value);
    const known = errnos.length > 0 && errnos.every((each) => ERRNO.test(each));
    for (const errno of known ? errnos : [undefined]) {
      for (const each of alternatives(reason, functions)) {
        const { text, pattern, weight } = textOf(each);
        // nothing but placeholders tells nobody anything
        if (weight > 0) found.set(`${errno} ${text}`, { errno, text, pattern, weight, file });
      }
    }
  }
  return [...found.values()];
}

function walk(node, visit) {
  if (Array.isArray(node)) for (const each of node) walk(each, visit);
  else if (node && typeof node === "object") {
    if (typeof node.type === "string") visit(node);
    for (const key of Object.keys(node)) if (typeof node[key] === "object") walk(node[key], visit);
  }
}

/** The literals that an expression can be: of both branches, of a constant, of what a function returns. */
function alternatives(node, functions, seen = new Set()) {
  switch (node.type) {
    case "Literal":
      return typeof node.value === "string" ? [node] : [];
    case "TemplateLiteral":
    case "BinaryExpression":
      return [node];
    case "ConditionalExpression":
      return [node.consequent, node.alternate].flatMap((each) => alternatives(each, functions, seen));
    case "Identifier": {
      const declared = functions.get(node.name);
      if (declared?.type !== "VariableDeclarator" || seen.has(declared)) return [];
      return alternatives(declared.init, functions, new Set([...seen, declared]));
    }
    case "CallExpression": {
      const called = functions.get(node.callee.name);
      if (called?.type !== "FunctionDeclaration" || seen.has(called)) return [];
      const returned = [];
      walk(called.body, (each) => {
        if (each.type === "ReturnStatement" && each.argument) returned.push(each.argument);
      });
      return returned.flatMap((each) => alternatives(each, functions, new Set([...seen, called])));
    }
    default:
      return [];
  }
}

/** `iova ${hex(iova)} is 0` as "iova {iova} is 0" and /^iova .* is 0$/. */
function textOf(node) {
  const parts = partsOf(node);
  const literal = parts.filter((part) => typeof part === "string").join("");
  const text = parts.map((part) => (typeof part === "string" ? part : `{${placeholder(part)}}`)).join("");
  const source = parts.map((part) => (typeof part === "string" ? escapeRegExp(part) : "[^]*")).join("");
  return { text, pattern: new RegExp(`^${source}$`), weight: literal.replace(/[^a-z]/gi, "").length };
}

function partsOf(node) {
  if (node.type === "Literal") return [String(node.value)];
  if (node.type === "BinaryExpression" && node.operator === "+") return [...partsOf(node.left), ...partsOf(node.right)];
  if (node.type !== "TemplateLiteral") return [node];
  return node.quasis.flatMap((quasi, i) => [quasi.value.cooked, ...(node.expressions[i] ? [node.expressions[i]] : [])]);
}

/** What to call an expression: the last identifier that says something. */
function placeholder(node) {
  switch (node.type) {
    case "Identifier":
      return node.name;
    case "PrivateIdentifier":
      return node.name;
    case "Literal":
      return String(node.value).trim();
    case "MemberExpression": {
      const name = node.computed ? undefined : node.property.name;
      // [...map.keys()][0]
      const first = node.object.type === "ArrayExpression" ? node.object.elements[0]?.argument : undefined;
      if (name === undefined) return placeholder(first ?? node.object);
      if (node.object.type === "ThisExpression") return name;
      if (name === "length") return `number of ${placeholder(node.object)}`;
      return name === "label" || name === "name" ? placeholder(node.object) : name;
    }
    case "CallExpression": {
      const { callee } = node;
      if (callee.type === "MemberExpression") {
        const method = callee.property.name;
        if (/^[us](8|16|32|64)$/.test(method) && node.arguments[0]) return placeholder(node.arguments[0]);
        return /^(join|toString|map|slice|get|filter|trim|keys|values|entries)$/.test(method)
          ? placeholder(callee.object)
          : method;
      }
      if (callee.name === "hexRange") return "range";
      const wraps = /^(hex|String|Number|BigInt)$/.test(callee.name);
      return wraps && node.arguments[0] ? placeholder(node.arguments[0]) : placeholder(callee);
    }
    case "BinaryExpression":
    case "LogicalExpression":
      return node.left.type === "Literal" ? placeholder(node.right) : placeholder(node.left);
    case "ConditionalExpression": {
      const both = [node.consequent, node.alternate].map(placeholder).filter((each) => each !== "");
      return [...new Set(both)].join(" or ");
    }
    case "TemplateLiteral":
      return textOf(node).text.trim();
    case "UnaryExpression":
      return placeholder(node.argument);
    case "ParenthesizedExpression":
    case "TSNonNullExpression":
    case "TSAsExpression":
    case "ChainExpression":
      return placeholder(node.expression);
    default:
      return "…";
  }
}

function escapeRegExp(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
