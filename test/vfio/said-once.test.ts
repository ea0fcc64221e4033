import { expect, test } from "vitest";
import { SaidOnce } from "../../src/host/said-once.ts";

test("a message is said once, and remembered among the last 1,024", () => {
  const said = new SaidOnce();
  expect(said.isNew("first")).toBe(true);
  for (let i = 0; i < 1023; i++) expect(said.isNew(`message ${i}`)).toBe(true);
  expect(said.isNew("first")).toBe(false);
  expect(said.isNew("one more")).toBe(true);
  expect(said.isNew("first")).toBe(true);
  expect(said.isNew("message 1022")).toBe(false);
});
