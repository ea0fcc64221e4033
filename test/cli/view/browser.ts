import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { type Browser, chromium, type Locator, type Page } from "playwright-core";
import { UVFIO } from "../uvfio.ts";

/** Debian's package chromium. */
const CHROMIUM = "/usr/bin/chromium";
export const hasChromium = existsSync(CHROMIUM);
if (!hasChromium) console.log("the page of uvfio view is not tested: Debian's chromium is not installed");

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
}

/** What the page has looked for: all of it must be its own. */
export interface Opened {
  readonly page: Page;
  readonly requests: string[];
  readonly errors: string[];
}

export async function openPage(browser: Browser, url: string, size = { width: 1400, height: 900 }): Promise<Opened> {
  const page = await browser.newPage({ viewport: size });
  const requests: string[] = [];
  const errors: string[] = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(url);
  return { page, requests, errors };
}

/** uvfio in the background, with a page of its own. */
export class Viewing {
  readonly url: string;
  readonly child: ChildProcess;
  readonly #output: { text: string };

  private constructor(child: ChildProcess, url: string, output: { text: string }) {
    this.child = child;
    this.url = url;
    this.#output = output;
  }

  get output(): string {
    return this.#output.text;
  }

  static async start(...args: string[]): Promise<Viewing> {
    const child = spawn(process.execPath, [UVFIO, ...args], { stdio: ["pipe", "pipe", "pipe"] });
    const output = { text: "" };
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output.text += chunk));
    for (;;) {
      const url = /http:\/\/127\.0\.0\.1:\d+\/[0-9a-f]{32}\//.exec(output.text)?.[0];
      if (url !== undefined) return new Viewing(child, url, output);
      if (child.exitCode !== null) throw new Error(`uvfio ${args.join(" ")} ended: ${output.text}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Ends it, and waits. @returns its exit status */
  async end(signal: NodeJS.Signals = "SIGINT"): Promise<number | null> {
    if (this.child.exitCode === null) {
      const closed = new Promise((resolve) => this.child.once("close", resolve));
      this.child.kill(signal);
      await closed;
    }
    return this.child.exitCode;
  }

  /** Its program's stdin ends. @returns the exit status */
  async finish(): Promise<number | null> {
    const closed = new Promise((resolve) => this.child.once("close", resolve));
    this.child.stdin!.end();
    await closed;
    return this.child.exitCode;
  }
}

/** What a person sees of it. */
export function shown(locator: Locator): Promise<string> {
  // biome-ignore lint/performance/useDomNodeTextContent: as it is set out, and without what is hidden
  return locator.innerText();
}

export function hashOf(page: Page): Promise<string> {
  return page.evaluate("location.hash") as Promise<string>;
}
