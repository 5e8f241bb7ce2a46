// Real socket.io-client sockets: each line of input is something an application does, each line of output something
// that it sees. {"op": …, "socket": name} in, {"kind": …, "socket": name} out.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const sockets = new Map();
const tell = (line) => console.log(JSON.stringify(line));

const plain = (value) => {
  if (value instanceof Uint8Array) return { binary: Buffer.from(value).toString("base64") };
  if (Array.isArray(value)) return value.map(plain);
  return value;
};

const lively = (value) => {
  if (value?.binary !== undefined) return Buffer.from(value.binary, "base64");
  if (Array.isArray(value)) return value.map(lively);
  return value;
};

// `late`: as an application whose effects take the listeners off on disconnect and put them on again after connect.
function watch(name, socket, late) {
  const event = (event, ...args) => tell({ socket: name, kind: "event", name: event, args: args.map(plain) });
  const listen = () => {
    socket.offAny(event).onAny(event);
    tell({ socket: name, kind: "listening" });
  };
  if (!late) listen();
  socket.io.on("open", () => {
    socket.io.engine.on("upgrade", (transport) =>
      tell({ socket: name, kind: "upgrade", transport: transport.name }),
    );
  });
  socket.on("connect", () => {
    const { id, recovered } = socket;
    tell({ socket: name, kind: "connect", id, recovered, transport: socket.io.engine.transport.name });
    if (late) setTimeout(listen, 50);
  });
  socket.on("disconnect", (reason) => {
    if (late) socket.offAny(event);
    tell({ socket: name, kind: "disconnect", reason });
  });
  socket.on("connect_error", (error) =>
    tell({ socket: name, kind: "connect_error", message: error.message, data: error.data ?? null }),
  );
}

const operations = {
  connect({ socket: name, url, options = {}, token, form, late }) {
    const auth = token === undefined ? undefined : { token };
    const socket = io(url, {
      reconnectionDelay: 50,
      reconnectionDelayMax: 200,
      forceNew: true,
      ...options,
      auth: form === "function" ? (take) => take(auth) : auth,
    });
    sockets.set(name, socket);
    watch(name, socket, late);
  },
  // The same page again, while its old connection still stands.
  twin({ socket: name, of, url, token }) {
    const old = sockets.get(of);
    const socket = io(url, { forceNew: true, autoConnect: false, auth: { token } });
    socket._pid = old._pid;
    socket._lastOffset = old._lastOffset;
    sockets.set(name, socket);
    watch(name, socket, false);
    socket.connect();
  },
  emit({ socket: name, name: event, args = [], reference }) {
    const socket = sockets.get(name);
    const values = args.map(lively);
    if (reference === undefined) return socket.emit(event, ...values);
    socket.emit(event, ...values, (...answer) =>
      tell({ socket: name, kind: "ack", reference, args: answer.map(plain) }),
    );
  },
  flood({ socket: name, name: event, count }) {
    for (let n = 0; n < count; n += 1) sockets.get(name).emit(event);
  },
  // The transport goes away beneath the socket.
  cut({ socket: name }) {
    const { transport } = sockets.get(name).io.engine;
    if (transport.ws) transport.ws.terminate();
    else sockets.get(name).io.engine.close();
  },
  hold({ socket: name }) {
    sockets.get(name).io.reconnection(false);
  },
  resume({ socket: name, url, token }) {
    const socket = sockets.get(name);
    if (url !== undefined) socket.io.uri = url;
    if (token !== undefined) socket.auth = { token };
    socket.io.reconnection(true);
    socket.connect();
  },
  leave({ socket: name }) {
    sockets.get(name).disconnect();
  },
};

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const operation = JSON.parse(line);
  operations[operation.op](operation);
});
lines.on("close", () => process.exit(0));
