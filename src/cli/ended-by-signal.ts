const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"] as const;

/**
 * Does some work, and has everything put in order also when a signal ends this process meanwhile.
 * @param putInOrder what must be done at the end, in any case; once
 */
export async function putInOrderAfter<T>(work: () => Promise<T>, putInOrder: () => void): Promise<T> {
  const ended = (signal: NodeJS.Signals) => {
    release();
    putInOrder();
    // who waits for this process sees that a signal has ended it
    process.kill(process.pid, signal);
  };
  const release = () => {
    for (const signal of SIGNALS) process.off(signal, ended);
  };
  for (const signal of SIGNALS) process.on(signal, ended);
  try {
    return await work();
  } finally {
    release();
    putInOrder();
  }
}
