// Seed 004: `websocketService.ts` of the guide, on the plain WebSocket class.
import assert from "node:assert/strict";
import { WebSocket } from "ws";
import { ask, Inbox, journey, proved, publish, request, settings, until } from "./journey.mjs";

class WebSocketService {
  #handlers = new Map();
  #attempts = 0;
  #closing = false;
  rooms = new Set();
  inbox = new Inbox();
  connected = false;
  authenticated = false;
  clientId = undefined;
  // The ids of all events so far.
  given = [];

  // `headers` is what a backend's client sends; a browser's cannot.
  connect(token, { inUrl = true, headers = {}, url = settings.websocket } = {}) {
    const address = new URL(url);
    if (token && inUrl) address.searchParams.set("token", token);
    if (this.clientId) address.searchParams.set("clientId", this.clientId);
    this.socket = new WebSocket(address, { headers });
    this.socket.onopen = () => {
      this.connected = true;
      this.#attempts = 0;
    };
    this.socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    this.socket.onerror = () => {};
    this.socket.onclose = ({ code }) => {
      this.connected = false;
      this.authenticated = false;
      this.inbox.put("close", code);
      if (!this.#closing) this.#retry(token, { inUrl, headers, url });
    };
  }

  // Initial retry 5 s, exponential up to 30 s, 10 attempts.
  #retry(token, options) {
    if (this.#attempts >= 10) return;
    const delay = Math.min(5_000 * 2 ** this.#attempts, 30_000);
    this.#attempts += 1;
    setTimeout(() => this.connect(token, options), delay);
  }

  #take(message) {
    if (message.type === "connection_established") this.authenticated = message.payload.authenticated;
    if (message.type === "authenticated") {
      this.authenticated = true;
      this.clientId = message.payload.clientId;
    }
    if (message.id) this.given.push(message.id);
    this.inbox.put(message.type, message);
    for (const handler of this.#handlers.get(message.type) ?? []) handler(message.payload);
    if (message.room) for (const handler of this.#handlers.get(`room:${message.room}`) ?? []) handler(message);
  }

  on(type, handler) {
    this.#handlers.set(type, [...(this.#handlers.get(type) ?? []), handler]);
  }

  send(type, payload) {
    this.socket.send(JSON.stringify({ type, payload }));
  }

  joinRoom(room) {
    this.rooms.add(room);
    this.send("join", { room });
  }

  leaveRoom(room) {
    this.rooms.delete(room);
    this.send("leave", { room });
  }

  disconnect() {
    this.#closing = true;
    this.socket.close();
  }
}

// useWebSocketRoom and useWebSocketMetrics, without React.
const useWebSocketRoom = (service, room, callback) => {
  service.joinRoom(room);
  service.on(`room:${room}`, callback);
};

function useWebSocketMetrics(service, types) {
  const metrics = {};
  service.joinRoom("dashboard:overview");
  service.on("metric_update", (data) => {
    if (types.includes(data.type)) metrics[data.type] = data;
  });
  return metrics;
}

// Each way to say who one is, on a connection of its own.
async function authentication() {
  const token = settings.tokens.agent;
  for (const [row, options] of [
    ["token-in-url", {}],
    ["authorization-header", { inUrl: false, headers: { Authorization: `Bearer ${token}` } }],
    ["x-auth-token-header", { inUrl: false, headers: { "X-Auth-Token": token } }],
  ]) {
    const service = new WebSocketService();
    service.connect(token, options);
    const { payload } = await service.inbox.take("connection_established");
    assert.equal(payload.authenticated, true, row);
    assert(payload.clientId.length > 0);
    service.disconnect();
    proved(row);
  }
  // The guide's wscat session.
  const service = new WebSocketService();
  service.connect();
  const { payload } = await service.inbox.take("connection_established");
  assert.equal(payload.authenticated, false);
  service.send("join", { room: "dashboard:overview" });
  assert.equal((await service.inbox.take("error")).payload.code, "unauthenticated");
  service.send("auth", { token });
  await service.inbox.take("authenticated");
  service.send("join", { room: "dashboard:overview" });
  await service.inbox.take("room_joined");
  service.disconnect();
  proved("auth", "connection_established", "error");

  // Where the application lets guests in, one is a guest until somebody signs in, by the same session.
  const guest = new WebSocketService();
  guest.connect(undefined, { headers: { Origin: settings.lobby } });
  await guest.inbox.take("connection_established");
  guest.joinRoom("dashboard:overview");
  await guest.inbox.take("room_joined");
  assert(!guest.authenticated, "a guest is nobody");
  guest.send("auth", { token });
  const { payload: signedIn } = await guest.inbox.take("authenticated");
  assert(guest.authenticated && signedIn.userId === settings.users.agent);
  assert(signedIn.rooms.includes("dashboard:overview") && signedIn.rooms.includes(`user:${settings.users.agent}`));
  guest.disconnect();
  proved("guest");

  const stranger = new WebSocketService();
  stranger.connect("YOUR_TOKEN");
  assert.match((await stranger.inbox.take("error")).payload.message, /Invalid authentication token/);
  stranger.disconnect();
  proved("invalid-token");
}

async function rooms(service) {
  const { inbox } = service;
  const metrics = useWebSocketMetrics(service, ["voice_call", "email_campaign"]);
  const ofAgent = [];
  useWebSocketRoom(service, "agent:agent-123", (message) => ofAgent.push(message));
  for (const room of ["voice:training", "clips:analytics"]) service.joinRoom(room);
  for (const room of service.rooms) await inbox.take("room_joined", ({ payload }) => payload.room === room);
  proved("join", "room_joined");

  service.joinRoom("admin");
  assert.equal((await inbox.take("error")).payload.code, "forbidden");
  service.rooms.delete("admin");
  proved("room-permissions");

  await publish("metric_update", { type: "voice_call", calls: 150, duration: 3600, cost: 45.5 });
  await publish("metric_update", { type: "sms", sent: 3 });
  await inbox.take("metric_update", ({ payload }) => payload.type === "voice_call");
  await inbox.take("metric_update", ({ payload }) => payload.type === "sms");
  assert.deepEqual(Object.keys(metrics), ["voice_call"]);
  const { calls, duration, cost } = metrics.voice_call;
  assert.deepEqual([calls, duration, cost], [150, 3600, 45.5]);
  proved("metric_update", "useWebSocketMetrics");

  const at = new Date().toISOString();
  await publish("agent_status_change", { agentId: "agent-123", status: "online", timestamp: at });
  const changed = await inbox.take("agent_status_change");
  assert.equal(changed.payload.status, "online");
  assert.equal(ofAgent.length, 1);
  proved("agent_status_change", "useWebSocketRoom");

  const progress = { status: "processing", progress: 75, message: "Processing audio file..." };
  await publish("voice_clone_progress", { userId: "user-456", ...progress });
  const { payload: cloned } = await inbox.take("voice_clone_progress");
  assert.deepEqual([cloned.status, cloned.progress, cloned.message], Object.values(progress));
  await publish("training_milestone", {
    userId: "user-456",
    milestone: "audio_extracted",
    details: { duration: 180 },
  });
  assert.equal((await inbox.take("training_milestone")).payload.details.duration, 180);
  await publish("training:update", { activeJobs: 5 });
  assert.equal((await inbox.take("training:update")).data.activeJobs, 5);
  await publish("clip_played", { clipId: "clip-789", plays: 100, location: "US" });
  const { payload: clip } = await inbox.take("clip_played");
  assert.deepEqual([clip.clipId, clip.plays, clip.location], ["clip-789", 100, "US"]);
  proved("voice_clone_progress", "training_milestone", "training:update", "clip_played");

  // Nobody joins the room of one's own.
  await publish("notification", { message: "Your voice clone is ready!" }, [settings.users.agent]);
  assert.equal((await inbox.take("notification")).data.message, "Your voice clone is ready!");
  proved("notification", "user-room");

  service.send("custom:event", { anything: 1 });
  const custom = await ask("stored", { category: "custom" });
  assert.deepEqual([custom.clientId, custom.type, custom.payload], [service.clientId, "custom:event", { anything: 1 }]);
  proved("custom-message");

  service.leaveRoom("clips:analytics");
  await inbox.take("room_left", ({ payload }) => payload.room === "clips:analytics");
  await publish("clip_played", { clipId: "clip-789", plays: 101 });
  await publish("training:update", { activeJobs: 6 });
  await inbox.take("training:update");
  assert(!inbox.has("clip_played"));
  proved("room_left");
}

// `metrics:get` and the endpoints of the guide.
async function management(service) {
  const { inbox } = service;
  await until("the metrics are counted", async () => {
    service.send("metrics:get", { type: "voice_call", startDate: "2024-01-01" });
    const { payload } = await inbox.take("metrics");
    return JSON.stringify(payload.metrics).includes("150");
  });
  service.send("metrics:get", {});
  await inbox.take("metrics");
  proved("metrics:get");

  const agent = settings.tokens.agent;
  const status = await (await request("GET", "/api/ws/status", agent)).json();
  const { totalClients, authenticatedClients, rooms } = status;
  assert.deepEqual([totalClients, authenticatedClients], [1, 1]);
  assert.equal(rooms["voice:training"].clientCount, 1);
  const listed = await (await request("GET", "/api/ws/rooms", agent)).json();
  assert.equal(listed.rooms["agent:agent-123"].clientCount, 1);
  assert.equal((await request("GET", "/api/ws/status")).status, 401);
  proved("status");

  const message = { room: "admin:broadcast", type: "maintenance", payload: { at: "22:00" } };
  const sent = await request("POST", "/api/ws/broadcast", settings.tokens.admin, message);
  assert.equal(sent.status, 200);
  const told = await inbox.take("maintenance");
  assert.deepEqual([told.payload.at, told.room], ["22:00", "admin:broadcast"]);
  assert.equal((await request("POST", "/api/ws/broadcast", agent, message)).status, 403);
  proved("broadcast");
}

// The gateway is killed; the client's own back-off brings it back, and nothing is missing.
async function reconnection(service) {
  const { inbox, clientId } = service;
  const seen = new Set(service.given);
  await ask("kill");
  await inbox.take("close");
  for (let calls = 1; calls <= 10; calls += 1) await publish("metric_update", { type: "voice_call", calls });
  await ask("restart");
  const { payload } = await inbox.take("reconnected");
  assert.equal(payload.clientId, clientId);
  for (const room of service.rooms) assert(payload.rooms.includes(room), room);
  assert(service.authenticated);
  // This client acknowledges nothing, so it may be given again what it was not known to have before the kill.
  for (let calls = 1; calls <= 10; calls += 1) {
    const { payload: missed } = await inbox.take("metric_update", ({ id }) => !seen.has(id));
    assert.equal(missed.calls, calls);
  }
  proved("reconnected", "reconnection");
}

await journey(async () => {
  await authentication();
  const service = new WebSocketService();
  service.connect(settings.tokens.agent);
  await service.inbox.take("authenticated");
  await rooms(service);
  await management(service);
  // Idle for as long as the gateway's interval.
  assert((await service.inbox.take("heartbeat")).payload.timestamp > 0);
  proved("heartbeat");
  await reconnection(service);
});
