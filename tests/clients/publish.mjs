// Publishes what it reads, one JSON object a line {subject, headers, data}, as a team does with its own credentials,
// and writes for each the log's answer, or why there is none.
import { createInterface } from "node:readline";
import { jetstream } from "@nats-io/jetstream";
import { connect, headers, nkeyAuthenticator } from "@nats-io/transport-node";

const { NATS_URL, NATS_SEED, NATS_INBOX } = process.env;
const connection = await connect({
  servers: NATS_URL,
  authenticator: nkeyAuthenticator(new TextEncoder().encode(NATS_SEED)),
  inboxPrefix: NATS_INBOX,
});
const log = jetstream(connection);

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  const attributes = headers();
  for (const [name, value] of Object.entries(message.headers)) attributes.set(name, value);
  try {
    const ack = await log.publish(message.subject, JSON.stringify(message.data), {
      headers: attributes,
      timeout: 2000,
    });
    console.log(JSON.stringify({ stream: ack.stream, sequence: ack.seq, duplicate: ack.duplicate }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
await connection.drain();
