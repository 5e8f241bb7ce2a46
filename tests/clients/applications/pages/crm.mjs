// Seed 003's subscription in the browser it is written for: the native EventSource, the session's cookie.
import { createTRPCClient, httpBatchStreamLink, httpSubscriptionLink, splitLink } from "@trpc/client";
import superjson from "superjson";

const { url, query } = window.settings;
const client = createTRPCClient({
  links: [
    splitLink({
      condition: (operation) => operation.type === "subscription",
      true: httpSubscriptionLink({
        url: `${url}/api/trpc${query}`,
        transformer: superjson,
        eventSourceOptions: () => ({ withCredentials: true }),
      }),
      false: httpBatchStreamLink({ url: `${url}/api/trpc`, transformer: superjson }),
    }),
  ],
});
client.callLog.onCallEvent.subscribe(undefined, {
  onStarted: () => window.tell({ kind: "started" }),
  onData: (event) => window.tell({ kind: "event", name: "call", event }),
  onError: ({ message }) => window.tell({ kind: "error", message }),
});
