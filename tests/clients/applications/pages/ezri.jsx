// The React application of seed 001: its hook as written there, and pages whose effects take the listeners off when
// the connection is gone and put them on again when it is back.
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { io } from "socket.io-client";

const useWebSocket = () => {
  const [socket, setSocket] = useState(null);
  const [connected, setConnected] = useState(false);

  useEffect(() => {
    // Get auth token
    const token = localStorage.getItem("auth_token");

    if (!token) return;

    // Connect to WebSocket server
    const newSocket = io(window.settings.url, {
      auth: { token },
      transports: ["websocket", "polling"],
    });

    newSocket.on("connect", () => {
      setConnected(true);
      window.tell({ kind: "connect", recovered: newSocket.recovered });
    });

    newSocket.on("disconnect", () => {
      setConnected(false);
      window.tell({ kind: "disconnect" });
    });

    newSocket.on("error", (error) => {
      window.tell({ kind: "event", name: "error", data: error });
    });

    setSocket(newSocket);

    // Cleanup
    return () => {
      newSocket.disconnect();
    };
  }, []);

  return { socket, connected };
};

const shown = (name) => (data) => window.tell({ kind: "event", name, data });

// A page that takes its time to render: what arrives meanwhile is dispatched before its effects have run.
const renderSlowly = () => {
  const until = performance.now() + 100;
  while (performance.now() < until);
};

function Notifications() {
  const { socket, connected } = useWebSocket();
  const [notifications, setNotifications] = useState([]);
  renderSlowly();

  useEffect(() => {
    if (!socket || !connected) return;
    socket.on("notification:new", (notification) => {
      setNotifications((before) => [...before, notification.message]);
    });
    window.tell({ kind: "listening" });
    return () => {
      socket.off("notification:new");
    };
  }, [socket, connected]);

  useEffect(() => {
    window.tell({ kind: "rendered", messages: notifications });
  }, [notifications]);
  return <ul>{notifications.map((message) => <li key={message}>{message}</li>)}</ul>;
}

function SafetyEventsDashboard() {
  const { socket, connected } = useWebSocket();

  renderSlowly();
  useEffect(() => {
    if (!socket || !connected) return;
    const names = ["crisis:alert", "crisis:assigned", "crisis:resolved"];
    for (const name of names) socket.on(name, shown(name));
    window.tell({ kind: "listening" });
    return () => {
      for (const name of names) socket.off(name);
    };
  }, [socket, connected]);

  return null;
}

// Sends something as soon as it is connected, and listens behind that.
function ActiveSession() {
  const { socket, connected } = useWebSocket();

  useEffect(() => {
    if (!socket || !connected) return;

    // Start conversation
    socket.emit("conversation:start", { avatarId: "avatar-1" });

    socket.on("ai:response", shown("ai:response"));
    socket.on("notification:new", shown("notification:new"));
    socket.on("safety:state_change", shown("safety:state_change"));
    window.tell({ kind: "listening" });

    return () => {
      socket.off("ai:response");
      socket.off("notification:new");
      socket.off("safety:state_change");
    };
  }, [socket, connected]);

  return null;
}

const Page = { Notifications, SafetyEventsDashboard, ActiveSession }[window.settings.component];
createRoot(document.getElementById("root")).render(<Page />);
