/**
 * How much a random test does: little at a developer's desk, all of it in CI (CI=true).
 * @param variable sets another number for one run
 */
export function amount(variable: string, little: number, all: number): number {
  const given = process.env[variable];
  if (given !== undefined) return Number(given);
  return process.env.CI ? all : little;
}
