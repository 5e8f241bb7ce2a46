// What the journeys of the five applications share. A journey tells {"row": id} for each row that it has proved, asks
// the test for what its backend and its providers do, {"ask": …}, and ends with {"done": true} or {"failed": why}.
import { createServer } from "node:http";
import { createInterface } from "node:readline";

// url, websocket: the gateway's; tokens: by name.
export const settings = JSON.parse(process.env.SETTINGS ?? "{}");

const tell = (line) => console.log(JSON.stringify(line));
const PATIENCE = 45_000;

const answers = [];
createInterface({ input: process.stdin })
  .on("line", (line) => answers.shift()(JSON.parse(line)))
  .on("close", () => process.exit(0));

// Done by the test: {"ask": "publish", …}, "webhook", "restart", … Resolves when it is done.
export const ask = (what, rest = {}) =>
  new Promise((resolve) => {
    answers.push(resolve);
    tell({ ask: what, ...rest });
  });

export const publish = (name, data, audience = []) => ask("publish", { name, data, audience });

export const proved = (...rows) => rows.forEach((row) => tell({ row }));

export async function journey(story) {
  try {
    await story();
    tell({ done: true });
  } catch (error) {
    tell({ failed: error.stack });
  }
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Asks until the answer is something, as a view is a moment behind the log.
export async function until(what, question) {
  for (const begin = Date.now(); Date.now() - begin < PATIENCE; await pause(100)) {
    const answer = await question();
    if (answer) return answer;
  }
  throw new Error(`not in time: ${what}`);
}

// What the application's own backend asks of the platform by HTTP.
export const request = (method, path, token, body) =>
  fetch(`${settings.url}${path}`, {
    method,
    headers: { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) },
    body: body && JSON.stringify(body),
  });

export async function command(token, type, data) {
  const response = await request("POST", "/v1/commands", token, { type, data });
  const answer = await response.json();
  if (!answer.ok) throw new Error(`${type}: ${JSON.stringify(answer)}`);
  return answer;
}

// A service of somebody else's that the platform calls: answers by path, with the body it was sent.
export const provider = (answer) =>
  new Promise((listening) => {
    const server = createServer(async (request, response) => {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const { http = 200, ...said } = answer(request.url, Buffer.concat(chunks), request);
      response.writeHead(http, { "content-type": "application/json" });
      response.end(JSON.stringify(said));
    });
    server.listen(settings.provider, "127.0.0.1", listening);
  });

// What an application has been given, in the order of its arrival.
export class Inbox {
  #kept = [];
  #waiting = [];

  put(name, value) {
    const at = this.#waiting.findIndex((waiting) => waiting.wants(name, value));
    if (at < 0) return this.#kept.push({ name, value });
    this.#waiting.splice(at, 1)[0].resolve(value);
  }

  // The first of this name of which `is` holds, kept or still to come.
  async take(wanted, is = () => true) {
    const wants = (name, value) => name === wanted && is(value);
    const at = this.#kept.findIndex(({ name, value }) => wants(name, value));
    if (at >= 0) return this.#kept.splice(at, 1)[0].value;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        const kept = JSON.stringify(this.#kept.slice(-8));
        reject(new Error(`no ${wanted} ${is} in time; last: ${kept}`));
      }, PATIENCE);
      const found = (value) => {
        clearTimeout(late);
        resolve(value);
      };
      this.#waiting.push({ wants, resolve: found });
    });
  }

  has(wanted, is = () => true) {
    return this.#kept.some(({ name, value }) => name === wanted && is(value));
  }

  count(wanted) {
    return this.#kept.filter(({ name }) => name === wanted).length;
  }
}

// Keeps everything that a Socket.IO socket is given.
export function watch(socket, inbox = new Inbox()) {
  for (const name of ["connect", "disconnect", "connect_error"]) socket.on(name, (value) => inbox.put(name, value));
  socket.onAny((name, data) => inbox.put(name, data));
  return inbox;
}

// What was sent before this has been read by the gateway, and what it had to say to it has arrived.
export const settled = (socket) => socket.timeout(PATIENCE).emitWithAck("ping");
