// A page with the stock socket.io-client.
import { io } from "socket.io-client";

const { url, options, token, form } = window.settings;
const auth = { token };
const socket = io(url, { ...options, auth: form === "function" ? (take) => take(auth) : auth });

// Bytes arrive as an ArrayBuffer and are told as an array of numbers.
const plain = (value) => (value instanceof ArrayBuffer ? { bytes: [...new Uint8Array(value)] } : value);

socket.io.on("open", () => {
  const { engine } = socket.io;
  window.tell({ kind: "open", transport: engine.transport.name });
  engine.on("upgrade", ({ name }) => window.tell({ kind: "upgrade", transport: name }));
});
socket.on("connect", () => window.tell({ kind: "connect", id: socket.id, recovered: socket.recovered }));
socket.on("disconnect", (reason) => window.tell({ kind: "disconnect", reason }));
socket.on("connect_error", ({ message }) => window.tell({ kind: "connect_error", message }));
socket.onAny((name, ...args) => window.tell({ kind: "event", name, args: args.map(plain) }));

window.run = ({ emit, args = [], blob }) => {
  const values = blob ? [...args, new Blob([new Uint8Array(blob)])] : args;
  socket.emit(emit, ...values, (answer) => window.tell({ kind: "ack", name: emit, answer }));
};
