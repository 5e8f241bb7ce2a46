// A CRM's subscription by the real @trpc/client: `httpSubscriptionLink` through `splitLink`, with superjson or without.
// Each line of input is something the application does, each line of output something that it sees.
import { createInterface } from "node:readline";
import { createTRPCClient, httpBatchStreamLink, httpSubscriptionLink, splitLink } from "@trpc/client";
import { EventSource } from "eventsource";
import superjson from "superjson";

const tell = (line) => console.log(JSON.stringify(line));
const subscriptions = new Map();

// What a browser adds by itself: the cookie.
const browser = (name, headers) => ({
  fetch(url, init) {
    tell({ name, kind: "request", url: String(url), lastEventId: init.headers["Last-Event-ID"] ?? null });
    return fetch(url, { ...init, headers: { ...init.headers, ...headers } });
  },
});

const operations = {
  subscribe({ name, url, path, transformed, headers, input }) {
    const transformer = transformed ? superjson : undefined;
    const client = createTRPCClient({
      links: [
        splitLink({
          condition: (operation) => operation.type === "subscription",
          true: httpSubscriptionLink({
            url,
            transformer,
            EventSource,
            eventSourceOptions: () => browser(name, headers),
          }),
          false: httpBatchStreamLink({ url, transformer }),
        }),
      ],
    });
    const procedure = path.split(".").reduce((router, part) => router[part], client);
    const subscription = procedure.subscribe(input, {
      onStarted: () => tell({ name, kind: "started" }),
      onData: (data) => tell({ name, kind: "data", data }),
      onError: (error) => tell({ name, kind: "error", message: error.message, data: error.data ?? null }),
      onConnectionStateChange: ({ state }) => tell({ name, kind: "state", state }),
      onStopped: () => tell({ name, kind: "stopped" }),
    });
    subscriptions.set(name, subscription);
  },
  unsubscribe({ name }) {
    subscriptions.get(name).unsubscribe();
  },
};

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const operation = JSON.parse(line);
  operations[operation.op](operation);
});
lines.on("close", () => process.exit(0));
