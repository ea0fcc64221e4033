import { FaultSpecError } from "../inspect/fault/fault-spec.ts";
import { FitInputError } from "../inspect/fit/input-error.ts";
import { UsageError } from "./usage-error.ts";

/**
 * Calls what the command calls too, whose messages name options as the command has them: here they are properties, and
 * --max-memory is maxMemory.
 * @throws UsageError for what makes no sense
 */
export async function withPropertyNames<T>(call: () => T | Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof FitInputError || error instanceof FaultSpecError))
      throw error;
    throw new UsageError(
      error.message.replace(/--([a-z]+(?:-[a-z]+)*)/g, (_, option: string) =>
        option.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      ),
    );
  }
}
