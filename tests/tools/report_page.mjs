// Opens pages of common.report in Chromium for tests/common/report/test_pages.py.
// stdin: {modules, chromium, pages: {name: options}}; stdout: {name: what was seen}.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const task = JSON.parse(readFileSync(0, "utf8"));
const { chromium } = createRequire(`${task.modules}/`)("playwright-core");
const browser = await chromium.launch({ executablePath: task.chromium, args: ["--no-sandbox"] });

// Texts with less contrast to their background than 4.5 (WCAG AA), as "text: ratio".
function pale() {
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
    if (!text || element.closest("script")) continue;
    let below = element;
    while (below.parentElement && numbers(getComputedStyle(below).backgroundColor)[3] === 0) below = below.parentElement;
    const style = getComputedStyle(element);
    const ink = light(numbers(element.closest("svg") ? style.fill : style.color));
    const paper = light(numbers(getComputedStyle(below).backgroundColor));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < 4.5) found.push(`${text.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return found;
}

async function look({ file, width = 1180, dark = false, caption = "", column = 0, screenshot }) {
  const colorScheme = dark ? "dark" : "light";
  const context = await browser.newContext({ viewport: { width, height: 860 }, colorScheme });
  await context.addInitScript(() => {
    window.refused = [];
    document.addEventListener("securitypolicyviolation", (event) => window.refused.push(event.effectiveDirective));
  });
  const page = await context.newPage();
  const [requests, errors] = [[], []];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(pathToFileURL(file).href);
  if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
  const sorted = page.locator("table").filter({ hasText: caption }).first();
  const heading = sorted.locator("thead th").nth(column);
  const state = async () => ({
    cells: await sorted.locator("tbody tr").evaluateAll((rows, at) => rows.map((row) => row.cells[at].textContent), column),
    sort: await heading.getAttribute("aria-sort"),
  });
  const states = [await state()];
  await heading.locator("button").click();
  states.push(await state());
  await heading.locator("button").focus();
  await page.keyboard.press("Enter");
  states.push(await state());
  const seen = await page.evaluate(() => ({
    title: document.title,
    headings: [...document.querySelectorAll("h1, h2")].map((element) => element.textContent),
    captions: [...document.querySelectorAll("caption")].map((element) => element.textContent),
    lines: document.querySelectorAll("svg polyline.mean").length,
    unnamed: document.querySelectorAll('svg[role="img"]:not([aria-label]), img:not([alt])').length,
    broken: [...document.querySelectorAll('a[href^="#"]')].filter((a) => !document.getElementById(a.hash.slice(1))).length,
    links: [...document.querySelectorAll('a:not([href^="#"])')].map((a) => a.getAttribute("href")),
    text: document.body.innerText,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    paper: getComputedStyle(document.body).backgroundColor,
    refused: window.refused,
  }));
  const result = { ...seen, states, requests, errors, pale: await page.evaluate(pale) };
  await context.close();
  return result;
}

const results = {};
for (const [name, options] of Object.entries(task.pages)) results[name] = await look(options);
await browser.close();
process.stdout.write(JSON.stringify(results));
