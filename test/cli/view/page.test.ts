import { spawn } from "node:child_process";
import { once } from "node:events";
import { request } from "node:http";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { compile, hasCompiler, scratchFolder, UVFIO, uvfio } from "../uvfio.ts";
import { hasChromium, hashOf, launchBrowser, openPage, shown, Viewing } from "./browser.ts";

const scratch = scratchFolder();
const program = hasCompiler ? compile("map-and-wait", scratch.path) : "";
/** Maps a page, then over the MSI region, then where something is mapped. */
const ARGS = ["0000:00:1b.0", "0x10000", "0xfee00000", "0x10000"];

/** The status of a request that a browser would not make. */
function status(url: string, headers: Record<string, string> = {}, method = "GET"): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { headers, method }, (response) => {
      response.resume();
      resolve(response.statusCode!);
    });
    asked.on("error", reject);
    asked.end();
  });
}

describe.skipIf(!hasChromium || !hasCompiler)("the page (needs Debian's chromium)", () => {
  let browser: Browser;
  const trace = join(scratch.path, "t.jsonl");
  beforeAll(async () => {
    uvfio("run", "-q", "--trace", trace, "--", program, ...ARGS);
    browser = await launchBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    scratch.remove();
  });

  test("of a trace says why a map failed, and shows it", async () => {
    const view = await Viewing.start("view", trace);
    try {
      const { page, requests, errors } = await openPage(browser, view.url);
      // it opens at the first failure
      const detail = page.locator("#detail");
      await detail.waitFor();
      expect(await shown(detail)).toMatch(/VFIO_IOMMU_MAP_DMA failed: EINVAL, invalid argument/);
      expect(await shown(detail)).toMatch(/overlaps the reserved range 0xfee00000-0xfeefffff \(msi\)/);
      expect(await shown(detail)).toMatch(/in the way\s*the reserved region \(msi\) of 0000:00:1b.0 \(group 5\)/);
      expect(await page.locator(".lane.chosen").count()).toBe(1);

      // zooms into it: the link says where, and a page that is opened with it is there
      await detail.getByText("zoom to it").nth(1).click();
      await expect.poll(() => hashOf(page)).toContain("from=");
      const hash = await hashOf(page);
      const place = new URLSearchParams(hash.slice(1));
      expect(BigInt(place.get("from")!)).toBeLessThan(0xfee00000n);
      expect(BigInt(place.get("to")!)).toBeGreaterThan(0xfeefffffn);
      expect(place.get("call")).toBeTruthy();
      const again = await openPage(browser, view.url + hash);
      await again.page.locator("#detail").waitFor();
      await expect.poll(() => hashOf(again.page)).toContain("from=");
      expect(new URLSearchParams((await hashOf(again.page)).slice(1)).get("call")).toBe(place.get("call"));

      // the next failure, by key
      await page.keyboard.press("n");
      expect(await shown(detail)).toMatch(/failed: EEXIST/);
      expect(await shown(detail)).toMatch(/in the way\s*a mapping of the type1 container: 0x10000 – 0x10fff, 4 KiB/);
      expect(await shown(detail)).toMatch(/unmap 0x10000 first/);
      await page.keyboard.press("Escape");
      await detail.waitFor({ state: "hidden" });

      // filters
      await page.fill("#query", "map_dma");
      await expect.poll(() => page.locator("#calls .row").count()).toBe(3);
      await page.check("#only-failed");
      await expect.poll(() => page.locator("#calls .row").count()).toBe(2);
      await page.fill("#query", "msi");
      await expect.poll(() => page.locator("#calls .row").count()).toBe(1);

      expect(errors).toEqual([]);
      expect(again.errors).toEqual([]);
      const { origin } = new URL(view.url);
      expect(requests.filter((url) => !url.startsWith(`${origin}/`))).toEqual([]);
    } finally {
      await view.end();
    }
  });

  test("goes through time, and has the same facts as a table", async () => {
    const view = await Viewing.start("view", trace);
    try {
      const { page } = await openPage(browser, view.url);
      await page.locator("#detail").waitFor();
      await page.keyboard.press("Escape");
      const slide = (to: number | "max") =>
        page.evaluate(`{
          const slider = document.getElementById("slider");
          slider.value = ${to === "max" ? "slider.max" : to};
          slider.dispatchEvent(new Event("input", { bubbles: true }));
        }`);
      await slide(0);
      await page.getByText("No address space yet").waitFor();
      expect(await page.locator(".lane").count()).toBe(0);
      // a step at a time, until the page is mapped
      await page.locator("body").press("t");
      const drawn = () => page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))");
      const position = () => page.evaluate("Number(document.getElementById('slider').value)");
      const last = Number(await page.evaluate("document.getElementById('slider').max"));
      for (let at = 1; at <= last && (await shown(page.locator("#tables"))).indexOf("0x10fff") < 0; at++) {
        await page.keyboard.press("]");
        await expect.poll(position).toBe(at);
        await page.locator("body").press("t");
        await page.locator("body").press("t");
        await drawn();
      }
      const table = await shown(page.locator("#tables"));
      expect(table).toMatch(/type1 container of process map-and-wait, pid \d+/);
      expect(table).toMatch(/0x10000\s+0x10fff\s+4 KiB\s+mapped/);
      expect(table).toMatch(/0xfee00000\s+0xfeefffff\s+1 MiB\s+cannot be mapped: the reserved region \(msi\)/);
      expect(await page.locator(".lane canvas").getAttribute("aria-label")).toMatch(/1 mapping, 4 KiB/);
      await slide("max");
      await page.getByText("No address space yet").waitFor();
    } finally {
      await view.end();
    }
  });

  test("zooms by wheel and keyboard, moves by drag and keyboard", async () => {
    const view = await Viewing.start("view", trace);
    try {
      const { page } = await openPage(browser, view.url);
      const canvas = page.locator(".lane canvas");
      await canvas.waitFor();
      const range = async () => {
        await page.waitForTimeout(500);
        const place = new URLSearchParams((await hashOf(page)).slice(1));
        const [from, to] = [place.get("from"), place.get("to")];
        return from && to ? { from: BigInt(from), to: BigInt(to) } : undefined;
      };
      expect(await range()).toBeUndefined();
      const box = (await canvas.boundingBox())!;
      await page.mouse.move(box.x + box.width / 3, box.y + 50);
      await page.mouse.wheel(0, -600);
      const wheeled = (await range())!;
      expect(wheeled.from).toBeGreaterThan(0n);
      await page.mouse.down();
      await page.mouse.move(box.x + box.width / 3 + 150, box.y + 50, { steps: 4 });
      await page.mouse.up();
      const dragged = (await range())!;
      expect(dragged.from).toBeLessThan(wheeled.from);
      await canvas.focus();
      await page.keyboard.press("ArrowRight");
      expect((await range())!.from).toBeGreaterThan(dragged.from);
      await page.keyboard.press("0");
      expect(await range()).toBeUndefined();
      await page.keyboard.press("+");
      expect(await range()).toBeDefined();
    } finally {
      await view.end();
    }
  });

  test("of a run shows it live, points at what failed, and stays readable when the run is over", async () => {
    const view = await Viewing.start("run", "--view", "--", program, ...ARGS);
    onTestFinished(() => void view.end("SIGTERM"));
    const { page } = await openPage(browser, view.url);
    await page.getByText("● live").waitFor();
    await page.getByText(/1 mapping, 4 KiB/).waitFor();
    const alert = page.locator("#alert");
    await alert.waitFor();
    expect(await shown(alert)).toMatch(/VFIO_IOMMU_MAP_DMA = EEXIST/);
    await alert.getByText("Why?").click();
    expect(await shown(page.locator("#detail"))).toMatch(/failed: EEXIST/);
    expect(await shown(page.locator("#devices"))).toMatch(/0000:00:1b\.0[\s\S]*?process map-and-wait, pid \d+/);
    expect(await view.finish()).toBe(0);
    await page.getByText("The program has ended with exit status 0.").waitFor();
    // its container is closed, and what failed in it is still to be looked at
    await page.keyboard.press("p");
    expect(await shown(page.locator("#detail"))).toMatch(/overlaps the reserved range/);
    expect(await shown(page.locator(".lane.chosen"))).toMatch(/closed/);
  });

  test("of a served host shows what was there before it came, and what programs do", async () => {
    const socket = join(scratch.path, "host.sock");
    const server = spawn(process.execPath, [UVFIO, "serve", "--socket", socket], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(server.stdout, "data");
    const args = ["run", "-q", "--on", socket, "--", program, "0000:00:1b.0"];
    const guest = spawn(process.execPath, [UVFIO, ...args, "0x10000"], { stdio: ["pipe", "pipe", "inherit"] });
    await once(guest.stdout, "data");
    const view = await Viewing.start("view", "--on", socket);
    try {
      const { page } = await openPage(browser, view.url);
      await page.getByText(/1 mapping, 4 KiB/).waitFor();
      const left = once(guest, "close");
      guest.stdin.end();
      await left;
      await page.getByText("No address space yet").waitFor();
      uvfio(...args, "0xfee00000");
      await page
        .getByText(/overlaps the reserved range/)
        .first()
        .waitFor();
      expect(await shown(page.locator("#calls"))).toMatch(/GROUP_SET_CONTAINER/);
      const ended = view.child.exitCode === null ? once(view.child, "close") : undefined;
      uvfio("stop", "--socket", socket);
      await page.getByText(/uvfio serve has ended/).waitFor();
      await ended;
      expect(view.child.exitCode).toBe(0);
    } finally {
      guest.kill();
      await view.end();
      server.kill();
    }
  });

  test("is for whoever has its address, and for no other site", async () => {
    const view = await Viewing.start("view", trace);
    try {
      const { url } = view;
      const { host, origin } = new URL(url);
      expect(await status(url)).toBe(200);
      expect(await status(`${origin}/`)).toBe(404);
      expect(await status(`${origin}/${"0".repeat(32)}/`)).toBe(404);
      expect(await status(`${url}../../etc/passwd`)).toBe(404);
      expect(await status(`${url}events`, { Host: "evil.example" })).toBe(403);
      expect(await status(`${url}events`, { Origin: "http://evil.example" })).toBe(403);
      expect(await status(url, { Origin: origin, Host: host })).toBe(200);
      expect(await status(url, {}, "POST")).toBe(405);
    } finally {
      await view.end();
    }
  });
});
