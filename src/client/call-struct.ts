import type { Decoded, FieldType, Layout, Partially } from "../uapi/layout.ts";
import type { OpenFile } from "./open-file.ts";

type Fields = Record<string, FieldType<unknown>>;

/**
 * Makes a request whose argument is a structure that answers go back into.
 * @param name the request's, for errors
 * @param failed is told what the structure says after a request that failed
 * @returns the structure as it is afterwards
 * @throws SystemCallError
 */
export function callStruct<F extends Fields>(
  { transport, fd }: OpenFile,
  request: number,
  name: string,
  layout: Layout<F>,
  fields: Partially<F>,
  failed?: (answer: Decoded<F>) => void,
): Decoded<F> {
  const { littleEndian } = transport;
  const argument = layout.encode(fields, 0, littleEndian);
  try {
    transport.ioctl(fd, request, argument, name);
  } catch (error) {
    failed?.(layout.decode(argument, littleEndian));
    throw error;
  }
  return layout.decode(argument, littleEndian);
}
