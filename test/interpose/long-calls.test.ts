import { describe, expect, test } from "vitest";
import type { CallContext, HeldCall } from "../../src/interpose/call-context.ts";
import { LongCalls, type Outcome } from "../../src/interpose/long-calls.ts";
import type { RequestSteps } from "../../src/kernel/request-steps.ts";

/** Steps that take a tenth of a millisecond each, and callers that may go. */
function setup() {
  let now = 0;
  let inHand = "";
  const gone = new Set<string>();
  const context = {
    hold: () => inHand as unknown as HeldCall,
    resume: (call: HeldCall) => {
      inHand = call as unknown as string;
      return !gone.has(inHand);
    },
  } as unknown as CallContext;
  function* steps(count: number, value: number): RequestSteps {
    for (let i = 0; i < count; i++) {
      now += 0.1;
      yield;
    }
    if (value < 0) throw new Error("refused");
    return value;
  }
  const calls = new LongCalls(
    1,
    () => {},
    () => now,
  );
  const begin = (name: string, count: number, value: number) => {
    inHand = name;
    return calls.begin(context, steps(count, value));
  };
  const answers: [string, Outcome | string][] = [];
  const run = () =>
    calls.run(context, 1, (goOn) => {
      try {
        answers.push([inHand, goOn()]);
      } catch (error) {
        answers.push([inHand, (error as Error).message]);
      }
    });
  return { calls, begin, run, answers, gone };
}

describe("calls that take long", () => {
  test("a short one is over at once", () => {
    const { begin, calls } = setup();
    expect([begin("a", 5, 7), calls.isPending]).toEqual([7, false]);
  });

  test("long ones take turns, each answered as itself", () => {
    const { begin, run, answers, calls } = setup();
    expect([begin("a", 25, 1), begin("b", 15, -1)]).toEqual(["later", "later"]);
    while (calls.isPending) run();
    expect(answers).toEqual([
      ["a", "later"],
      ["b", "refused"],
      ["a", 1],
    ]);
  });

  test("one whose caller is gone is dropped", () => {
    const { begin, run, answers, calls, gone } = setup();
    begin("a", 1000, 1);
    gone.add("a");
    run();
    expect([answers, calls.isPending]).toEqual([[], false]);
  });
});
