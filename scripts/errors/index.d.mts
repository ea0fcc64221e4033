export interface SeenError {
  /** As the page calls it: the name of an ioctl, "open", "mmap", "read, pread"... */
  readonly request: string;
  readonly backend: string;
  readonly errno: string;
  readonly reason: string;
}

export interface StaticText {
  readonly errno: string | undefined;
  readonly text: string;
  readonly pattern: RegExp;
  readonly weight: number;
  /** Below the folder. */
  readonly file: string;
}

export type WatchedClasses = Readonly<Record<string, unknown>>;

export function watchedClasses(load: (path: string) => Promise<unknown>): Promise<WatchedClasses>;
export function observe(classes: WatchedClasses, onError: (error: SeenError) => void): () => void;
export function staticTexts(folder: string): StaticText[];
export function errorsPage(
  seen: readonly (SeenError & { readonly source: "recordings" | "tests" })[],
  statics: readonly StaticText[],
): string;
export function escaped(text: string): string;
export function key(error: Omit<SeenError, "reason">): string;
export function tableKeys(page: string): Set<string>;
export function tableModule(page: string): string;
