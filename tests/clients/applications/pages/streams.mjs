// A page with the browser's own EventSource, as many as it is asked for.
const { urls, names, credentials } = window.settings;

urls.forEach((url, index) => {
  const source = new EventSource(url, { withCredentials: credentials });
  const tell = ({ type, lastEventId, data }) =>
    window.tell({ kind: "event", index, name: type, id: lastEventId, data: JSON.parse(data) });
  for (const name of [...names, "ready", "gap"]) source.addEventListener(name, tell);
  source.addEventListener("error", () => window.tell({ kind: "error", index, state: source.readyState }));
});
