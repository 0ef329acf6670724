// Official TypeScript client 2.x; same usage as client_py1.py, packages from
// PLACET_REAL_NODE_MODULES. ERA: auto or legacy.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import path from "node:path";

const from = createRequire(path.join(process.env.PLACET_REAL_NODE_MODULES, "x.js"));
const { Client, StreamableHTTPClientTransport, SdkErrorCode } = await import(
  pathToFileURL(from.resolve("@modelcontextprotocol/client")).href
);

const [url, token, era, commands] = process.argv.slice(2);
const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { Authorization: `Bearer ${token}` } },
});
const client = new Client({ name: "ts2", version: "1" }, { versionNegotiation: { mode: era } });
await client.connect(transport);

async function run(command) {
  const progress = [];
  try {
    if (command.do === "list") return { ok: await client.listTools() };
    const options = { timeout: (command.timeout ?? 55) * 1000 };
    if (command.progress) options.onprogress = (p) => progress.push([p.progress, p.message]);
    const ok = await client.callTool({ name: command.name, arguments: command.arguments }, options);
    return { ok, progress };
  } catch (error) {
    if (error.code === SdkErrorCode.RequestTimeout) {
      return { error: { kind: "timeout", code: error.code, message: error.message } };
    }
    if (typeof error.code !== "number") throw error;
    return { error: { kind: "rpc", code: error.code, message: error.message } };
  }
}

const answers = [];
for (const command of JSON.parse(commands)) {
  answers.push({ ...(await run(command)), version: client.getNegotiatedProtocolVersion?.() });
}
await client.close();
console.log(JSON.stringify(answers));
