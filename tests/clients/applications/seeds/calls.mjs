// Seed 000: the call dashboard's socket context, against calls as Twilio reports them.
import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { ask, Inbox, journey, proved, provider, publish, settings, settled, until } from "./journey.mjs";

// socket-context-enhanced.tsx without React: what `useSocket()` gives. No credential: the guide names none.
function useSocket() {
  const inbox = new Inbox();
  // A browser adds the page's origin by itself.
  const socket = io(settings.url, { extraHeaders: { Origin: settings.origin }, withCredentials: true });
  const context = {
    socket,
    inbox,
    isConnected: false,
    lastMessage: null,
    activeCalls: [],
    subscribeToCall: (callSid) => socket.emit("subscribe_to_call", callSid),
    unsubscribeFromCall: (callSid) => socket.emit("unsubscribe_from_call", callSid),
    refreshActiveCalls: () => socket.emit("subscribe_to_calls"),
  };
  socket.on("connect", () => {
    context.isConnected = true;
    inbox.put("connect", socket.recovered);
  });
  socket.on("disconnect", (reason) => {
    context.isConnected = false;
    inbox.put("disconnect", reason);
  });
  socket.on("connect_error", (error) => inbox.put("connect_error", error.message));
  for (const name of ["call:transcription", "call:quality"]) socket.on(name, (data) => inbox.put(name, data));
  for (const name of ["active_calls", "call_update", "call_data"]) {
    socket.on(name, (data) => {
      context.lastMessage = data;
      if (name === "active_calls") context.activeCalls = data;
      inbox.put(name, data);
    });
  }
  return context;
}

const CALL = "CA1a2b3c4d5e6f708192a3b4c5d6e7f809";
const OTHER = "CA9f8e7d6c5b4a39281706f5e4d3c2b1a0";
const ACCOUNT = "AC0123456789abcdef0123456789abcdef";

const status = (CallSid, CallStatus, SequenceNumber, rest = {}) =>
  ask("twilio", {
    path: "/call-status-callback",
    form: {
      CallSid,
      AccountSid: ACCOUNT,
      CallStatus,
      SequenceNumber: String(SequenceNumber),
      CallbackSource: "call-progress-events",
      From: "+15005550006",
      To: "+14155551212",
      Direction: "outbound-api",
      ...rest,
    },
  });

// The guide's own function; a browser adds the page's origin by itself.
async function terminateCall(callSid) {
  const response = await fetch(`${settings.url}/api/calls/${callSid}/terminate`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Origin: settings.origin,
    },
  });

  if (!response.ok) {
    throw new Error("Failed to terminate call");
  }
}

await journey(async () => {
  const dashboard = useSocket();
  const { inbox, socket } = dashboard;
  await inbox.take("connect");
  assert(dashboard.isConnected);
  proved("connect", "no-credential");

  dashboard.refreshActiveCalls();
  await settled(socket);
  await status(CALL, "ringing", 1);
  const ringing = await inbox.take("call_update", (call) => call.status === "ringing");
  assert.equal(ringing.callSid, CALL);
  assert.equal(dashboard.lastMessage, ringing);
  assert.equal(inbox.count("call_data"), 0);
  proved("subscribe_to_calls", "call_update", "call-status-callback");

  // `useEffect` of CallDetailPage.
  dashboard.subscribeToCall(CALL);
  await settled(socket);
  await status(CALL, "in-progress", 2);
  await status(OTHER, "ringing", 1);
  const answered = await inbox.take("call_data");
  assert.deepEqual([answered.callSid, answered.status], [CALL, "in-progress"]);
  await inbox.take("call_update", (call) => call.callSid === CALL && call.status === "in-progress");
  await inbox.take("call_update", (call) => call.callSid === OTHER);
  assert.equal(inbox.count("call_data"), 0, "another call's data");
  proved("subscribe_to_call", "call_data");

  await publish("call:transcription", { callSid: CALL, role: "user", text: "Hello?" });
  assert.equal((await inbox.take("call:transcription")).text, "Hello?");
  const metrics = { jitter: { avg: 1.2, max: 4 } };
  await publish("call:quality", { callSid: CALL, insight: "call-metrics.gateway", metrics });
  assert.deepEqual((await inbox.take("call:quality")).metrics, metrics);
  proved("call:transcription", "call:quality");

  const recording = { sid: "RE0123456789abcdef0123456789abcdef", url: "https://api.twilio.com/recordings/RE01" };
  await ask("twilio", {
    path: "/recording-status-callback",
    form: {
      CallSid: CALL,
      AccountSid: ACCOUNT,
      RecordingSid: recording.sid,
      RecordingUrl: recording.url,
      RecordingStatus: "completed",
      RecordingDuration: "40",
    },
  });
  const recorded = await inbox.take("call_update", (call) => call.recording !== undefined);
  assert.deepEqual(
    [recorded.recording.status, recorded.recording.url, recorded.recording.duration],
    ["completed", recording.url, 40],
  );
  await inbox.take("call_data", (call) => call.recording !== undefined);
  proved("recording-status-callback");

  await ask("twilio", {
    path: "/amd-status-callback",
    form: { CallSid: CALL, AccountSid: ACCOUNT, AnsweredBy: "machine_end_beep", MachineDetectionDuration: "3200" },
  });
  const detected = await inbox.take("call_update", (call) => call.answeredBy !== undefined);
  assert.equal(detected.answeredBy, "machine_end_beep");
  proved("amd-status-callback");

  await ask("twilio", {
    path: "/quality-insights-callback",
    json: [
      {
        specversion: "1.0",
        type: "com.twilio.voice.insights.call-event.gateway",
        source: `/2010-04-01/Accounts/${ACCOUNT}/Calls/${CALL}/CallEvents`,
        id: "EV1123456789abcdef0123456789abcdef",
        time: "2017-08-02T19:56:05.000Z",
        data: {
          account_sid: ACCOUNT,
          call_sid: CALL,
          edge: "carrier_edge",
          group: "quality-warning-raised",
          level: "WARNING",
          name: "high-jitter",
        },
      },
    ],
  });
  const warned = await inbox.take("call_update", (call) => call.quality !== undefined);
  assert.equal(warned.callSid, CALL);
  proved("quality-insights-callback");

  // The gateway is killed and comes back: what happened meanwhile is seen, without a line of code for it.
  await ask("kill");
  await inbox.take("disconnect");
  assert(!dashboard.isConnected);
  await status(CALL, "completed", 3, { CallDuration: "42" });
  await ask("restart");
  assert.equal(await inbox.take("connect"), true, "recovered");
  const over = await inbox.take("call_update", (call) => call.status === "completed");
  assert.equal(over.duration, 42);
  await inbox.take("call_data", (call) => call.status === "completed");
  proved("disconnect", "recovery");

  // The list of the calls that are going on, asked for again.
  await until("the active calls", async () => {
    dashboard.refreshActiveCalls();
    const calls = await inbox.take("active_calls");
    return calls.some(({ callSid }) => callSid === OTHER) && !calls.some(({ callSid }) => callSid === CALL);
  });
  const [other] = dashboard.activeCalls.filter(({ callSid }) => callSid === OTHER);
  assert.equal(other.status, "ringing");
  proved("active_calls");

  await status(OTHER, "in-progress", 2);
  await inbox.take("call_update", (call) => call.callSid === OTHER && call.status === "in-progress");
  const ended = [];
  await provider((path, body) => {
    ended.push([path, String(body)]);
    return { sid: OTHER, status: "completed" };
  });
  await terminateCall(OTHER);
  await until("the provider was asked", () => ended.length === 1);
  assert.deepEqual(ended, [[`/2010-04-01/Accounts/${ACCOUNT}/Calls/${OTHER}.json`, "Status=completed"]]);
  await status(OTHER, "completed", 3, { CallDuration: "7" });
  await inbox.take("call_update", (call) => call.callSid === OTHER && call.status === "completed");
  proved("terminate");

  dashboard.unsubscribeFromCall(CALL);
  await settled(socket);
  await publish("call.update", { callSid: CALL, status: "completed", sequence: 4 });
  await inbox.take("call_update", (call) => call.sequence === 4);
  await settled(socket);
  assert(!inbox.has("call_data", (call) => call.sequence === 4));
  proved("unsubscribe_from_call");
});
