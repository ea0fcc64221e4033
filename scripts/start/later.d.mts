/** Options of V8 that are off until a host is served. */
export const FLAGS: readonly string[];
