import { afterAll, beforeAll, expect, test } from "vitest";
import { Build } from "./build.ts";

let build: Build;
let client: string;

beforeAll(() => {
  build = new Build();
  client = build.client("interpose-client.c", "client", "-lpthread")!;
});
afterAll(() => build.remove());

async function output(...args: string[]): Promise<string[]> {
  const { stdout, stderr } = await build.run({}, client, ...args);
  expect(stderr).toBe("");
  return stdout.trimEnd().split("\n");
}

test("pages are held when their protection allows it, and charged against the budget", async () => {
  expect(await output("pins")).toEqual([
    "rw read=1 write=1 charged=8",
    "ro read=1 write=-14",
    "none read=-14 write=-14",
    "exec-only read=-14 write=-14",
    "write-only read=-14 write=1",
    "hole=-14 before it=1 charged=0",
    "budget 3 of 4=-12 budget 4=1 hole first=-14 budget first=-12",
    "file inside=1 behind its end=-14 private read=1 write=-14",
    "BAR=1 charged=0",
    "stack=1 kernel=-14 null=-14",
  ]);
});

test("DMA reaches held pages, large buffers too, and fails when they are gone", async () => {
  expect(await output("dma")).toEqual(['reverse=0 "fedcba"', "large=0 first=2 last=1", "unmapped=-14 unpin=0"]);
});

test("copies fail with EFAULT where the program itself could not, with the part before it written", async () => {
  expect(await output("faults")).toEqual([
    'copy=16 "0123456789abcde"',
    "read unmapped=-14 half unmapped=-14",
    "write unmapped=-14 read-only=-14",
    'write half unmapped=-14 written="0123"',
    "kernel address=-14 struct=-14",
    "string at the end=3 unfinished=-14 null=-14 over pages=8191",
  ]);
});

test("exec gives a process other memory, and what was held of the old is gone", async () => {
  expect(await output("exec-memory")).toEqual([
    "before exec: id=0 after a failed one=0",
    "after exec: other memory=1 old pin=-14",
  ]);
});
