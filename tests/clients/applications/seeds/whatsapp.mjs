// Seed 002: the WhatsApp CRM's client, given every event of its reference with the payload that stands there.
import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { ask, command, journey, proved, publish, request, settings, settled, watch } from "./journey.mjs";

const connect = (token) => io(settings.url, { auth: { token } });

const account = "3f8e1f0a-9b1e-4a2c-8f0d-1c2b3a4d5e6f";
const campaign = "0b7c6d5e-4f3a-4b2c-9d1e-0f1a2b3c4d5e";
const contact = "a1b2c3d4-e5f6-4a7b-8c9d-0e1f2a3b4c5d";
const timestamp = "2025-11-05T10:00:00Z";

// By the room that the application has subscribed to; without one, the owner's own.
const events = {
  account: {
    "whatsapp:qr:generated": { accountId: account, qrCode: "iVBORw0KGgo=", expiresAt: "2025-11-05T10:02:00Z" },
    "whatsapp:ready": {
      accountId: account,
      accountInfo: { phoneNumber: "1234567890", displayName: "Business Name" },
    },
    "whatsapp:connection:status": { accountId: account, status: "Reconnecting", message: "Status message" },
    "whatsapp:disconnected": { accountId: account, reason: "Disconnection reason" },
    "message:status:update": {
      messageId: "m-1",
      status: "Delivered",
      contactId: contact,
      whatsappAccountId: account,
    },
    "message:received": {
      message: {
        id: "m-2",
        contactId: contact,
        whatsappAccountId: account,
        direction: "Inbound",
        type: "Image",
        content: "Message content",
        mediaUrl: "https://example.com/image.png",
        createdAt: "2025-11-05T10:00:00Z",
      },
    },
    "message:sent": {
      message: {
        id: "m-3",
        contactId: contact,
        whatsappAccountId: account,
        direction: "Outbound",
        type: "Text",
        content: "Message content",
        status: "Sent",
        sentAt: "2025-11-05T10:00:00Z",
      },
    },
  },
  owner: {
    "message:delivered": { messageId: "m-3", deliveredAt: "2025-11-05T10:00:00Z" },
    "message:read": { messageId: "m-3", readAt: "2025-11-05T10:00:00Z" },
    "message:failed": { messageId: "m-4", error: "Error message" },
    "flow:execution:started": { flowId: "f-1", executionId: "x-1" },
    "flow:execution:completed": { flowId: "f-1", executionId: "x-1", result: { status: "Completed", steps: 5 } },
    "flow:execution:failed": { flowId: "f-1", executionId: "x-2", error: "Error message" },
  },
  campaign: {
    "campaign:started": { campaignId: campaign, campaign: { name: "Campaign Name", totalRecipients: 1000 } },
    "campaign:progress": { campaignId: campaign, progress: { sent: 500, total: 1000, percentage: 50, failed: 5 } },
    "campaign:completed": {
      campaignId: campaign,
      stats: {
        totalRecipients: 1000,
        sentCount: 995,
        deliveredCount: 990,
        readCount: 850,
        failedCount: 5,
        deliveryRate: 99.5,
        readRate: 85.0,
      },
    },
    "campaign:failed": { campaignId: campaign, error: "Error message" },
  },
  contact: {
    "contact:created": {
      contact: { id: contact, name: "John Doe", phone: "+1234567890", email: "john@example.com" },
    },
    "contact:updated": {
      contactId: contact,
      updates: { name: "John Smith", email: "john.smith@example.com" },
    },
    "contact:deleted": { contactId: contact },
  },
  everybody: {
    "system:notification": {
      notification: {
        type: "warning",
        title: "Notification Title",
        message: "Notification message",
        action: { label: "View Details", url: "/path/to/resource" },
      },
    },
    "team:activity": {
      activity: {
        userId: "7",
        userName: "John Doe",
        action: "created_campaign",
        resource: "Campaign Name",
        metadata: {},
      },
    },
  },
};

await journey(async () => {
  const stranger = connect("your-jwt-access-token");
  const { message } = await watch(stranger).take("connect_error");
  assert.equal(message, "Invalid authentication token");
  stranger.disconnect();
  const byHeader = io(settings.url, { extraHeaders: { Authorization: `Bearer ${settings.tokens.crm}` } });
  await watch(byHeader).take("connect");
  byHeader.disconnect();
  proved("authorization-header");
  proved("connect_error");

  const socket = connect(settings.tokens.crm);
  const inbox = watch(socket);
  await inbox.take("connect");
  proved("connect");

  socket.emit("subscribe:whatsapp", account);
  socket.emit("subscribe:campaign", campaign);
  socket.emit("subscribe:contact", contact);
  await settled(socket);
  const audiences = { owner: [settings.users.crm] };
  for (const [room, ofRoom] of Object.entries(events)) {
    for (const [name, payload] of Object.entries(ofRoom)) {
      await publish(name, { ...payload, timestamp }, audiences[room]);
      const { timestamp: told, ...given } = await inbox.take(name);
      assert.equal(new Date(told).getTime(), new Date(timestamp).getTime(), name);
      assert.deepEqual(given, payload, name);
      proved(name);
    }
  }
  proved("user-room", "subscribe:whatsapp", "subscribe:campaign", "subscribe:contact");
  assert(!inbox.has("error"));

  // Somebody without access to the account.
  const customer = connect(settings.tokens.customer);
  const ofCustomer = watch(customer);
  await ofCustomer.take("connect");
  customer.emit("subscribe:whatsapp", account);
  assert.equal((await ofCustomer.take("error")).code, "forbidden");
  await publish("whatsapp:ready", events.account["whatsapp:ready"]);
  await inbox.take("whatsapp:ready");
  await settled(customer);
  assert(!ofCustomer.has("whatsapp:ready"));
  customer.disconnect();
  proved("room-permissions");

  socket.emit("ping");
  const { timestamp: now } = await inbox.take("pong", ({ timestamp }) => timestamp !== undefined);
  assert(Math.abs(Date.now() - now) < 60_000);
  proved("ping");

  // A colleague looks at the same contact.
  const colleague = connect(settings.tokens.agent);
  const ofColleague = watch(colleague);
  colleague.emit("subscribe:contact", contact);
  await settled(colleague);
  for (const [name, isTyping] of [
    ["typing:start", true],
    ["typing:stop", false],
  ]) {
    colleague.emit(name, { contactId: contact, whatsappAccountId: account });
    const told = await inbox.take("typing:indicator");
    const { contactId, whatsappAccountId, userId } = told;
    assert.deepEqual([contactId, whatsappAccountId, userId], [contact, account, settings.users.agent]);
    assert.equal(told.isTyping, isTyping);
    assert(!Number.isNaN(Date.parse(told.timestamp)));
  }
  await settled(colleague);
  assert(!ofColleague.has("typing:indicator"));
  proved("typing");
  // Whoever forgets to say that it has stopped is taken to have.
  colleague.emit("typing:start", { contactId: contact, whatsappAccountId: account });
  await inbox.take("typing:indicator", ({ isTyping }) => isTyping);
  await inbox.take("typing:indicator", ({ isTyping }) => !isTyping);
  proved("typing-timeout");

  // A campaign that is running; the one above is over.
  const running = { campaignId: "running", campaign: { name: "Campaign Name", totalRecipients: 1000 } };
  socket.emit("subscribe:campaign", running.campaignId);
  await settled(socket);
  await publish("campaign:started", running);
  await inbox.take("campaign:started");
  for (const [type, name] of [
    ["campaign.pause", "campaign:paused"],
    ["campaign.resume", "campaign:resumed"],
  ]) {
    await command(settings.tokens.crm, type, { campaignId: running.campaignId });
    assert.equal((await inbox.take(name)).campaignId, running.campaignId);
    proved(name);
  }

  const stats = await (await request("GET", "/api/ws/status", settings.tokens.crm)).json();
  assert.equal(stats.connected, 2);
  assert.equal(stats.rooms[`contact:${contact}`].clientCount, 2);
  proved("getConnectionStats");
  colleague.disconnect();

  // What this page would have missed: the gateway is killed, messages come, the page is back.
  await ask("kill");
  await inbox.take("disconnect");
  for (let n = 1; n <= 20; n += 1) {
    const sent = { ...events.account["message:sent"].message, id: `missed-${n}` };
    await publish("message:sent", { message: sent });
  }
  await ask("restart");
  for (let n = 1; n <= 20; n += 1) {
    const { message: sent } = await inbox.take("message:sent");
    assert.equal(sent.id, `missed-${n}`);
  }
  proved("disconnect", "event-replay");

  socket.emit("unsubscribe:whatsapp", account);
  socket.emit("unsubscribe:campaign", campaign);
  socket.emit("unsubscribe:contact", contact);
  await settled(socket);
  await publish("whatsapp:ready", events.account["whatsapp:ready"]);
  await publish("campaign:failed", events.campaign["campaign:failed"]);
  await publish("contact:deleted", events.contact["contact:deleted"]);
  await publish("message:read", events.owner["message:read"], audiences.owner);
  await inbox.take("message:read");
  for (const name of ["whatsapp:ready", "campaign:failed", "contact:deleted"]) assert(!inbox.has(name), name);
  proved("unsubscribe:whatsapp", "unsubscribe:campaign", "unsubscribe:contact");
});
