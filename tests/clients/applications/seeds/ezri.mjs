// Seed 001: Ezri's user and administrator, as `useWebSocket` connects them.
import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { journey, proved, publish, settings, watch } from "./journey.mjs";

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

async function authentication() {
  const { tokens } = settings;
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

await journey(async () => {
  await authentication();
  const [phone, laptop] = [useWebSocket(settings.tokens.user), useWebSocket(settings.tokens.user)];
  const admin = useWebSocket(settings.tokens.super);
  const rooms = {};
  for (const [name, { inbox }] of Object.entries({ phone, laptop, admin })) {
    await inbox.take("connect");
    rooms[name] = (await inbox.take("throughline:ready")).rooms;
  }
  proved("auth.token", "useWebSocket");
  assert(rooms.phone.includes(`user:${settings.users.user}`) && !rooms.phone.includes("admin"));
  assert(rooms.admin.includes("admin"));
  proved("user-room", "admin-room");

  const notification = { userId: settings.users.user, title: "Session", message: "It begins in ten minutes." };
  await publish("notification:new", notification);
  for (const { inbox } of [phone, laptop]) {
    const { message } = await inbox.take("notification:new");
    assert.equal(message, notification.message);
  }
  assert(!admin.inbox.has("notification:new"));
  proved("notification:new");
});
