import { Page } from "./page.ts";

const page = new Page();
page.start();

// for tests and the console of the browser
Object.assign(globalThis, { uvfioView: page });
