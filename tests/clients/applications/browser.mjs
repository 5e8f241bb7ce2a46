// Applications in a real browser: pages bundled with the stock packages, each told what to do by a line of input and
// telling what it sees by lines of output. {"page": name, …}
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const { CHROMIUM_BIN, PAGE_PORT } = process.env;
const here = new URL(".", import.meta.url).pathname;
const { outputFiles } = await build({
  entryPoints: ["sockets.mjs", "streams.mjs", "crm.mjs", "ezri.jsx"].map((name) => `${here}pages/${name}`),
  bundle: true,
  format: "esm",
  jsx: "automatic",
  define: { "process.env.NODE_ENV": '"production"' },
  outdir: "/",
  write: false,
});
const scripts = new Map(outputFiles.map((file) => [file.path, file.text]));

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://page");
  const script = scripts.get(`${pathname}.js`) ?? scripts.get(pathname);
  const isScript = pathname.endsWith(".js");
  response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
  if (isScript) return response.end(script);
  response.end(`<!doctype html><div id="root"></div><script type="module" src="${pathname}.js"></script>`);
});
await new Promise((listening) => server.listen(Number(PAGE_PORT), "127.0.0.1", listening));

const browser = await chromium.launch({
  executablePath: CHROMIUM_BIN,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
const pages = new Map();
const tell = (line) => console.log(JSON.stringify(line));

const operations = {
  // Each in a context of its own: other cookies, another local storage, as another person's browser.
  async open({ page: name, app, settings = {}, cookies = {}, storage = {} }) {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const url = `http://127.0.0.1:${PAGE_PORT}`;
    const all = Object.entries(cookies).map(([name, value]) => ({ name, value, url }));
    await context.addCookies(all);
    const page = await context.newPage();
    const network = await context.newCDPSession(page);
    network.on("Network.responseReceived", ({ response: { mimeType, protocol } }) => {
      if (mimeType === "text/event-stream") tell({ page: name, kind: "stream", protocol });
    });
    await network.send("Network.enable");
    page.on("pageerror", (error) => tell({ page: name, kind: "failure", message: error.message }));
    await page.exposeFunction("tell", (line) => tell({ page: name, ...line }));
    await page.addInitScript(
      ([settings, storage]) => {
        window.settings = settings;
        for (const [key, value] of Object.entries(storage)) localStorage.setItem(key, value);
      },
      [settings, storage],
    );
    await page.goto(`${url}/${app}`);
    pages.set(name, page);
  },
  async run({ page, operation }) {
    await pages.get(page).evaluate((operation) => window.run(operation), operation);
  },
};

let before = Promise.resolve();
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const operation = JSON.parse(line);
  before = before.then(() => operations[operation.op](operation));
});
lines.on("close", async () => {
  await browser.close();
  process.exit(0);
});
