// Seed 001: Ezri's users and administrators, as `useWebSocket` connects them, and the AI service that they talk to.
import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { ask, journey, proved, provider, publish, settings, settled, watch } from "./journey.mjs";

const { tokens, users } = settings;
const origin = { Origin: settings.origin };

// useWebSocket.ts without React.
const useWebSocket = (token, options = {}) => {
  const socket = io(settings.url, {
    auth: { token },
    transports: ["websocket", "polling"],
    extraHeaders: origin,
    ...options,
  });
  return { socket, inbox: watch(socket) };
};

const connect = async (token) => {
  const person = useWebSocket(token);
  await person.inbox.take("connect");
  person.rooms = (await person.inbox.take("throughline:ready")).rooms;
  return person;
};

// What the AI service says to a message; null stands for a service that is ill.
const answers = {
  "Please read chapter seven.": { response: "Chapter seven begins at sea.", crisis_detected: false, mood: "calm" },
  "Please read chapter eight.": {
    response: "Let us stop here for a moment.",
    crisis_detected: true,
    severity: "imminent",
    detected_signals: ["self-harm"],
    safety_state: "crisis",
    resources: ["Call 988"],
  },
  "Please read chapter nine.": null,
};
const sound = Buffer.from([0x1a, 0x45, 0xdf, 0xa3, 0x00, 0xff]);
const speech = Buffer.from([0x49, 0x44, 0x33, 0x04, 0x00]);
let isDeaf = false;

function aiService(path, body, { headers }) {
  if (path === "/api/v1/voice/process") {
    if (isDeaf) return { http: 500 };
    assert.equal(headers["content-type"], "application/octet-stream");
    assert.deepEqual(body, sound);
    return { transcription: "I slept well.", audioResponse: speech.toString("base64") };
  }
  assert.equal(path, "/api/v1/conversation");
  const { userId, conversationId, message } = JSON.parse(body);
  assert.equal(userId, users.user);
  assert(conversationId.length > 0);
  return answers[message] ?? { http: 500 };
}

async function authentication() {
  for (const [row, token, message] of [
    ["token-required", undefined, "Authentication token required"],
    ["token-invalid", "your-jwt-token", "Invalid authentication token"],
  ]) {
    const { socket, inbox } = useWebSocket(token);
    assert.equal((await inbox.take("connect_error")).message, message);
    socket.disconnect();
    proved(row);
  }
  const headers = { ...origin, Authorization: `Bearer ${tokens.user}` };
  const byHeader = useWebSocket(undefined, { extraHeaders: headers });
  await byHeader.inbox.take("connect");
  byHeader.socket.disconnect();
  proved("authorization-header");
  const polling = useWebSocket(tokens.user, { transports: ["polling"] });
  await polling.inbox.take("connect");
  assert.equal(polling.socket.io.engine.transport.name, "polling");
  polling.socket.disconnect();
  proved("transports");
}

async function notifications({ phone, laptop, admin }) {
  const notification = { userId: users.user, title: "Session", message: "It begins in ten minutes." };
  await publish("notification:new", notification);
  let id;
  for (const { inbox } of [phone, laptop]) {
    const shown = await inbox.take("notification:new");
    assert.equal(shown.message, notification.message);
    id = shown.id;
  }
  assert(!admin.inbox.has("notification:new"));
  proved("notification:new");
  await laptop.inbox.take("notification:badge", ({ unread }) => unread === 1);
  phone.socket.emit("notification:read", id);
  for (const { inbox } of [phone, laptop]) assert.equal(await inbox.take("notification:read"), id);
  proved("notification:read");
  await laptop.inbox.take("notification:badge", ({ unread }) => unread === 0);
  proved("notification:badge");
}

// `useEffect` of ActiveSession.tsx, and what the administrators see of it.
async function conversation({ phone, laptop, admin }) {
  const { socket, inbox } = phone;
  socket.emit("conversation:start", { avatarId: "avatar-1" });
  const { conversationId } = await inbox.take("conversation:started");
  await settled(laptop.socket);
  assert(!laptop.inbox.has("conversation:started"), "the sender alone");
  proved("conversation:start");
  const started = await admin.inbox.take("session:started");
  assert.deepEqual([started.userId, started.conversationId], [users.user, conversationId]);
  assert(!Number.isNaN(Date.parse(started.timestamp)));
  proved("session:started");
  await admin.inbox.take("session:active", ({ count }) => count === 1);
  proved("session:active");
  await admin.inbox.take("admin:stats", ({ users: people, sessions, alerts }) => people === 1 && sessions === 1 && alerts === 0);
  proved("admin:stats");
  const begun = await admin.inbox.take("admin:activity", ({ action }) => action === "session.started");
  assert.deepEqual([begun.userId, begun.resource], [users.user, conversationId]);
  assert(!Number.isNaN(Date.parse(begun.timestamp)));
  proved("admin:activity");

  socket.emit("conversation:message", { conversationId, message: "Please read chapter seven." });
  const calm = await inbox.take("ai:response");
  const said = answers["Please read chapter seven."];
  for (const [field, value] of Object.entries(said)) assert.deepEqual(calm[field], value, field);
  proved("conversation:message");
  const update = await admin.inbox.take("session:update");
  assert.deepEqual([update.userId, update.conversationId], [users.user, conversationId]);
  proved("session:update");

  // The text alone is said in the conversation that was begun last.
  socket.emit("conversation:message", "Please read chapter seven.");
  assert.equal((await inbox.take("ai:response")).response, said.response);
  proved("conversation:message-text");

  socket.emit("voice:data", sound);
  assert.equal((await inbox.take("voice:transcription")).text, "I slept well.");
  assert.deepEqual(await inbox.take("voice:audio"), speech);
  proved("voice");
  return conversationId;
}

async function crisis({ phone, admin, second }, conversationId) {
  const order = [];
  for (const name of ["safety:state_change", "ai:response"]) phone.socket.on(name, () => order.push(name));
  phone.socket.emit("conversation:message", { conversationId, message: "Please read chapter eight." });
  const alert = await admin.inbox.take("crisis:alert");
  const { userId, severity, signals } = alert;
  assert.deepEqual([userId, alert.conversationId, severity], [users.user, conversationId, "imminent"]);
  assert.deepEqual(signals, ["self-harm"]);
  assert(alert.alertId.length > 0 && !Number.isNaN(Date.parse(alert.timestamp)));
  proved("crisis:alert");
  const { state, resources } = await phone.inbox.take("safety:state_change");
  assert.deepEqual([state, resources], ["crisis", ["Call 988"]]);
  await phone.inbox.take("ai:response");
  assert.deepEqual(order, ["safety:state_change", "ai:response"]);
  proved("safety:state_change");

  const { alertId } = alert;
  second.socket.emit("crisis:acknowledge", { alertId });
  for (const { inbox } of [admin, second]) {
    assert.equal((await inbox.take("crisis:acknowledged")).alertId, alertId);
  }
  proved("crisis:acknowledged");
  admin.socket.emit("admin:assign_crisis", { alertId });
  for (const { inbox } of [admin, second]) {
    const assigned = await inbox.take("crisis:assigned");
    assert.deepEqual([assigned.alertId, assigned.assignedTo], [alertId, users.super]);
  }
  second.socket.emit("admin:assign_crisis", { alertId });
  assert.equal((await second.inbox.take("error")).message, "Failed to assign crisis alert");
  proved("admin:assign_crisis");
  admin.socket.emit("admin:resolve_crisis", { alertId, notes: "Spoke to the user." });
  for (const { inbox } of [admin, second]) {
    const resolved = await inbox.take("crisis:resolved");
    assert.deepEqual([resolved.alertId, resolved.resolvedBy], [alertId, users.super]);
  }
  proved("admin:resolve_crisis");
}

// Each in the words of the guide's handlers.
async function errors({ phone, admin }, conversationId) {
  const failed = async ({ socket, inbox }, message, name, argument) => {
    socket.emit(name, argument);
    await inbox.take("error", (error) => error.message === message);
  };
  await failed(phone, "Failed to start conversation", "conversation:start", { avatarId: { not: "an id" } });
  await failed(phone, "Failed to get AI response", "conversation:message", {
    conversationId,
    message: "Please read chapter nine.",
  });
  isDeaf = true;
  await failed(phone, "Voice processing failed", "voice:data", sound);
  await failed(phone, "Failed to end conversation", "conversation:end", { conversationId: "none-of-mine" });
  await failed(admin, "Failed to assign crisis alert", "admin:assign_crisis", { alertId: "none-1" });
  await failed(admin, "Failed to resolve crisis alert", "admin:resolve_crisis", { alertId: "none-1", notes: "" });
  proved("errors");
}

async function ending({ phone, admin }, conversationId) {
  phone.socket.emit("conversation:end", { conversationId, duration: 4 });
  assert.equal((await phone.inbox.take("conversation:ended")).success, true);
  proved("conversation:end");
  const ended = await admin.inbox.take("session:ended");
  assert.deepEqual([ended.userId, ended.conversationId], [users.user, conversationId]);
  assert(Number.isInteger(ended.duration));
  proved("session:ended");
}

// An AI service that streams: pieces come before the whole, and add up to it.
async function streaming() {
  const { socket, inbox } = await connect(tokens.streamed);
  socket.emit("conversation:start", { avatarId: "avatar-1" });
  const { conversationId } = await inbox.take("conversation:started");
  let text = "";
  socket.on("ai:response:delta", (piece) => {
    text = text.slice(0, piece.offset) + piece.text;
  });
  socket.emit("conversation:message", { conversationId, message: "I slept well." });
  await inbox.take("conversation:state", ({ state }) => state === "thinking");
  const whole = await inbox.take("ai:response");
  assert.equal(text, whole.response);
  await inbox.take("conversation:state", ({ state }) => state === "idle");
  proved("conversation:state");
  assert(inbox.count("ai:response:delta") > 1);
  proved("ai-streaming");
}

// What the administrators' dashboard is told of the platform itself.
async function health({ phone, admin }) {
  await ask("kill", { service: "replay" });
  await admin.inbox.take("system:health", ({ component, status }) => component === "replay" && status === "down");
  await ask("restart", { service: "replay" });
  await admin.inbox.take("system:health", ({ component, status }) => component === "replay" && status === "ok");
  assert.equal(phone.inbox.count("system:health"), 0);
  proved("system:health");
}

await journey(async () => {
  await provider(aiService);
  await authentication();
  const people = {
    phone: await connect(tokens.user),
    laptop: await connect(tokens.user),
    admin: await connect(tokens.super),
    second: await connect(tokens.second),
  };
  proved("auth.token", "useWebSocket");
  await people.admin.inbox.take("presence:update", ({ userId, status }) => userId === "admin-2" && status === "online");
  proved("presence:update");
  const { phone, admin } = people;
  assert(phone.rooms.includes(`user:${users.user}`) && !phone.rooms.includes("admin"));
  assert(admin.rooms.includes("admin"));
  proved("user-room", "admin-room");
  await notifications(people);
  const conversationId = await conversation(people);
  await crisis(people, conversationId);
  await errors(people, conversationId);
  await ending(people, conversationId);
  await streaming();
  await health(people);
});
