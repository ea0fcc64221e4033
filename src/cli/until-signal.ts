const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Waits until somebody ends this process: Ctrl-C and its kin. @param or also ends it */
export async function untilSignal(or: Promise<unknown> = new Promise(() => {})): Promise<void> {
  let ends = () => {};
  const signal = new Promise<void>((resolve) => {
    ends = resolve;
  });
  // something that waits, so that the process does
  const alive = setInterval(() => {}, 2 ** 30);
  for (const name of SIGNALS) process.on(name, ends);
  try {
    await Promise.race([signal, or]);
  } finally {
    clearInterval(alive);
    for (const name of SIGNALS) process.off(name, ends);
  }
}
