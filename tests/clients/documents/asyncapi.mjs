// Reads AsyncAPI documents, one line each, and says what their own parser finds wrong.
import { createInterface } from "node:readline";
import { Parser } from "@asyncapi/parser";

const ERROR = 0;

for await (const line of createInterface({ input: process.stdin })) {
  const { document, diagnostics } = await new Parser().parse(line);
  const errors = diagnostics.filter((found) => found.severity === ERROR);
  console.log(
    JSON.stringify({
      version: document?.version(),
      channels: document?.allChannels().all().length,
      errors: errors.map(({ message, path }) => `${path.join(".")}: ${message}`),
    }),
  );
}
