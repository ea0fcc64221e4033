/** What a step does; its numbers mean what the world that applies it says. Whatever the state is, every step can be tried. */
export interface Step {
  readonly op: string;
  readonly process: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  /** Chooses what of the bystanders is looked at afterwards. */
  readonly watch: number;
}

/** One line per step: what UVFIO_TENANT_REPLAY reads. */
export function stepLine({ op, process, a, b, c, watch }: Step): string {
  return `${op} ${process} ${a} ${b} ${c} ${watch}`;
}

export function parseStep(line: string): Step {
  const [op = "", ...rest] = line.trim().split(/\s+/);
  const [process = 0, a = 0, b = 0, c = 0, watch = 0] = rest.map(Number);
  return { op, process, a, b, c, watch };
}

/** Somebody reached what is not his, or lost what is. */
export class TenantViolation extends Error {
  constructor(message: string) {
    super(message);
    this.name = "TenantViolation";
  }
}

/** A host with its tenants, checked against its reference at each step. */
export interface World {
  /** Carries a step out and compares. Throws TenantViolation. */
  apply(step: Step): void;
  /** A step that makes sense in the state that the world is in, mostly. */
  choose(): Step;
  /** Compares everything, and ends all processes. */
  end(): void;
  /** How many steps did what they were meant to, by op: a test whose calls all fail would test nothing. */
  readonly successes: ReadonlyMap<string, number>;
}
