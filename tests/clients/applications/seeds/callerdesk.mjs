// Seed 003: the campaign work page's subscription, with the links that `src/trpc/react.tsx` configures, against calls
// as CallerDesk reports them (the guide's own curl commands).
import assert from "node:assert/strict";
import { createTRPCClient, httpBatchStreamLink, httpSubscriptionLink, splitLink } from "@trpc/client";
import { EventSource } from "eventsource";
import superjson from "superjson";
import { ask, Inbox, journey, proved, provider, publish, request, settings, until } from "./journey.mjs";

// What the browser adds by itself: the session's cookies and the page's origin.
const browser = (cookie, origin) => ({
  fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, cookie, origin } }),
});
const session = (token) => browser(`token=${token}`, settings.origin);

const api = (credential, batches = () => {}) =>
  createTRPCClient({
    links: [
      splitLink({
        condition: (operation) => operation.type === "subscription",
        true: httpSubscriptionLink({
          url: `${settings.url}/api/trpc`,
          transformer: superjson,
          EventSource,
          eventSourceOptions: () => credential,
        }),
        false: httpBatchStreamLink({
          url: `${settings.url}/api/trpc`,
          transformer: superjson,
          fetch: async (url) => {
            batches(String(url));
            throw new Error("the application's own server answers queries");
          },
        }),
      }),
    ],
  });

// page.tsx: a toast for a live call, a popup for a completed one.
function workPage(credential) {
  const page = { inbox: new Inbox(), batches: [] };
  const { inbox } = page;
  page.client = api(credential, (url) => page.batches.push(url));
  page.subscription = page.client.callLog.onCallEvent.subscribe(undefined, {
    onStarted: () => inbox.put("started"),
    onData: (event) => {
      if (event.type === "live_call") inbox.put("toast", event);
      if (event.type === "call_completed") inbox.put("popup", event);
    },
    onError: (error) => inbox.put("error", error.message),
  });
  return page;
}

const webhook = (body) => ask("callerdesk", { body });

// The guide's curl commands.
const live = (rest = {}) =>
  webhook({
    type: "live_call",
    SourceNumber: "1234567890",
    DestinationNumber: "9876543210",
    Status: "Picked",
    ...rest,
  });

const report = (rest = {}) =>
  webhook({
    type: "call_report",
    SourceNumber: "1234567890",
    DestinationNumber: "9876543210",
    DialWhomNumber: "9123456780",
    CallDuration: "120",
    Status: "ANSWER",
    CallRecordingUrl: "https://example.com/recording.mp3",
    Direction: "WEBOBD",
    StartTime: "2024-01-01T10:00:00Z",
    EndTime: "2024-01-01T10:02:00Z",
    call_group: "sales",
    receiver_name: "Agent Name",
    ...rest,
  });

await journey(async () => {
  const page = workPage(session(settings.tokens.crm));
  const stranger = workPage(session(settings.tokens.elsewhere));
  await page.inbox.take("started");
  await stranger.inbox.take("started");
  proved("onCallEvent", "session");

  const nobody = workPage(session(""));
  assert.equal(await nobody.inbox.take("error"), "Authentication token required");

  await live();
  const toast = await page.inbox.take("toast");
  assert.equal(toast.workspaceId, settings.tenant);
  assert.equal(toast.status, "Picked");
  assert.match(toast.phoneNumber, /9876543210$/);
  proved("live_call", "webhook:live_call");

  await report();
  const { status, duration, durationSeconds, phoneNumber, recordingUrl, direction } = await page.inbox.take("popup");
  assert.deepEqual([status, duration, durationSeconds], ["Completed", "2m 0s", 120]);
  assert.equal(recordingUrl, "https://example.com/recording.mp3");
  assert.equal(direction, "outbound");
  assert.match(phoneNumber, /\d{10}$/);
  proved("call_completed", "webhook:call_report");

  // A contact of the CRM's, whose number is written in another way than the provider does.
  const contact = { id: "c-1", name: "Maya Rao", phone: "+91 87654-32109" };
  await publish("contact:created", { contact });
  await until("the contact is known", async () => {
    const view = await (await request("GET", "/v1/views/contacts/c-1", settings.tokens.admin)).json();
    return view.value?.name === contact.name;
  });
  await report({ CallSid: "1672649960.1", DestinationNumber: "08765432109" });
  assert.equal((await page.inbox.take("popup")).contactName, "Maya Rao");
  proved("contact-name");

  for (const [told, shown] of [
    ["NOANSWER", "No Answer"],
    ["BUSY", "Busy"],
    ["ERROR", "Failed"],
  ]) {
    await report({ Status: told, CallDuration: "0", CallSid: `1672649960.${told}` });
    assert.equal((await page.inbox.take("popup")).status, shown, told);
  }
  proved("statuses");

  // Several calls at once, each told by its own id.
  for (const n of [1, 2, 3]) await live({ CallSid: `1672649961.${n}` });
  const calls = new Set();
  for (let n = 0; n < 3; n += 1) calls.add((await page.inbox.take("toast")).callId);
  assert.equal(calls.size, 3);
  proved("several-calls");

  // Another workspace has seen nothing of all this.
  for (const name of ["toast", "popup"]) assert(!stranger.inbox.has(name));
  proved("workspace-filter");

  // The CRM's own session, of which only its own backend can tell whose it is.
  await provider((path, _, { headers }) => {
    assert.equal(path, "/api/session");
    const isKnown = /next-auth\.session-token=session-of-crm-7/.test(headers.cookie);
    return isKnown ? { userId: "crm-7", workspaceId: settings.tenant, role: "agent" } : { http: 401 };
  });
  const [own, unknown] = ["session-of-crm-7", "session-that-ended"].map((id) =>
    workPage(browser(`next-auth.session-token=${id}`, settings.crm)),
  );
  await own.inbox.take("started");
  await live({ CallSid: "1672649962.1" });
  assert.equal((await own.inbox.take("toast")).workspaceId, settings.tenant);
  assert.equal(await unknown.inbox.take("error"), "Invalid authentication token");
  own.subscription.unsubscribe();
  proved("own-session");

  // Queries still go through the batch stream, beside the subscription.
  await assert.rejects(page.client.callLog.list.query({ limit: 1 }));
  assert(page.batches.some((url) => url.includes("/api/trpc/callLog.list?batch=1")));
  proved("split-link");

  // The server restarts: what was in memory only is lost in the seed, and is not here.
  await ask("kill");
  await report({ CallSid: "1672649970.1", CallDuration: "135" });
  await report({ CallSid: "1672649970.2", CallDuration: "60" });
  await ask("restart");
  assert.equal((await page.inbox.take("popup")).duration, "2m 15s");
  assert.equal((await page.inbox.take("popup")).duration, "1m 0s");
  proved("auto-reconnect", "no-loss-on-restart");

  // Leaving the page ends the subscription on the server. The stranger's, to whom nothing was told, comes back when its
  // client tries again.
  await until("both subscriptions are back", async () => (await ask("streams")).count === 2);
  page.subscription.unsubscribe();
  stranger.subscription.unsubscribe();
  while ((await ask("streams")).count > 0);
  proved("auto-cleanup");
});
