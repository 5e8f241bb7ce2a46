// Opens a real browser's EventSource on a URL and writes what it dispatches, one JSON object a line.
// A line of input navigates: {"url": …}; the page keeps its own last event id, as browsers do.
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const { CHROMIUM_BIN, SSE_URL, SSE_EVENTS, PAGE_PORT } = process.env;
const server = createServer((_, response) => {
  response.setHeader("content-type", "text/html");
  response.end("<!doctype html><title>follower</title>");
});
await new Promise((listening) => server.listen(Number(PAGE_PORT), "127.0.0.1", listening));

const browser = await chromium.launch({
  executablePath: CHROMIUM_BIN,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
const page = await browser.newPage();
await page.exposeFunction("tell", (line) => console.log(line));
await page.goto(`http://127.0.0.1:${PAGE_PORT}/`);
await page.evaluate(
  ([url, names]) => {
    const source = new EventSource(url);
    const tell = (event) =>
      window.tell(JSON.stringify({ name: event.type, id: event.lastEventId, data: event.data }));
    for (const name of [...names, "ready", "gap", "message"]) source.addEventListener(name, tell);
    source.addEventListener("open", () => window.tell(JSON.stringify({ name: "open" })));
    source.addEventListener("error", () =>
      window.tell(JSON.stringify({ name: "error", state: source.readyState })),
    );
  },
  [SSE_URL, SSE_EVENTS.split(",")],
);
process.stdin.resume();
process.stdin.on("end", async () => {
  await browser.close();
  server.close();
});
