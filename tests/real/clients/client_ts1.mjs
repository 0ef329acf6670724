// Official TypeScript client 1.x; same usage as client_py1.py, packages from
// PLACET_REAL_NODE_MODULES. ERA is ignored: this client knows sessions only.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import path from "node:path";

const from = createRequire(path.join(process.env.PLACET_REAL_NODE_MODULES, "x.js"));
const load = (name) => import(pathToFileURL(from.resolve(name)).href);
const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = await load("@modelcontextprotocol/sdk/client/streamableHttp.js");

const [url, token, , commands] = process.argv.slice(2);
const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { Authorization: `Bearer ${token}` } },
});
const client = new Client({ name: "ts1", version: "1" });
await client.connect(transport);

async function run(command) {
  const progress = [];
  try {
    if (command.do === "list") return { ok: await client.listTools() };
    const options = { timeout: (command.timeout ?? 55) * 1000 };
    if (command.progress) options.onprogress = (p) => progress.push([p.progress, p.message]);
    const ok = await client.callTool({ name: command.name, arguments: command.arguments }, undefined, options);
    return { ok, progress };
  } catch (error) {
    if (typeof error.code !== "number") throw error;
    const kind = error.code === -32001 ? "timeout" : "rpc";
    return { error: { kind, code: error.code, message: error.message } };
  }
}

const answers = [];
for (const command of JSON.parse(commands)) {
  answers.push({ ...(await run(command)), version: transport.protocolVersion });
}
await transport.terminateSession();
await client.close();
console.log(JSON.stringify(answers));
