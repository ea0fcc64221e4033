export { observe, watchedClasses } from "./observe.mjs";
export { errorsPage, escaped, key, tableKeys } from "./page.mjs";
export { staticTexts } from "./static-texts.mjs";
export { tableModule } from "./table-module.mjs";
