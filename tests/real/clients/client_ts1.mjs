// Official TypeScript client 1.x; same usage as client_py1.py, packages from
// PLACET_REAL_NODE_MODULES. ERA `sse` is the transport of 2024-11-05, at URL/sse; otherwise it
// is ignored: this client knows sessions only. "reset": true in a
// command: progress resets the client's timer.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import path from "node:path";
import { ask } from "./model.mjs";

const from = createRequire(path.join(process.env.PLACET_REAL_NODE_MODULES, "x.js"));
const load = (name) => import(pathToFileURL(from.resolve(name)).href);
const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = await load("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { SSEClientTransport } = await load("@modelcontextprotocol/sdk/client/sse.js");
const { CallToolResultSchema, ElicitRequestSchema } = await load("@modelcontextprotocol/sdk/types.js");

const [url, token, era, commands, features = ""] = process.argv.slice(2);
const requestInit = { headers: { Authorization: `Bearer ${token}` } };
const transport =
  era === "sse"
    ? new SSEClientTransport(new URL(`${url}/sse`), { requestInit })
    : new StreamableHTTPClientTransport(new URL(url), { requestInit });
const urls = [];
const elicit = features.includes("elicit");
const client = new Client({ name: "ts1", version: "1" }, { capabilities: elicit ? { elicitation: { url: {} } } : {} });
if (elicit) {
  client.setRequestHandler(ElicitRequestSchema, (request) => {
    urls.push(request.params.url);
    return { action: "accept" };
  });
}
await client.connect(transport);

async function asTask(command, options) {
  const states = [];
  let task;
  const call = { name: command.name, arguments: command.arguments };
  for await (const message of client.experimental.tasks.callToolStream(call, undefined, { ...options, task: {} })) {
    if (message.task) {
      task = message.task.taskId;
      states.push(message.task.status);
    }
    // The client tells that the task failed, but not why: a host asks for its result.
    if (message.type === "error" && states.at(-1) === "failed") {
      return { ok: await client.experimental.tasks.getTaskResult(task, CallToolResultSchema), task, states };
    }
    if (message.type === "error") throw message.error;
    if (message.type === "result") return { ok: message.result, task, states };
  }
  throw new Error("the stream of the task ends without a result");
}

async function once(command) {
  const progress = [];
  try {
    if (command.do === "list") return { ok: await client.listTools() };
    const options = {};
    if (command.timeout !== null) options.timeout = (command.timeout ?? 55) * 1000;
    if (command.do === "task") return await asTask(command, options);
    if (command.progress) options.onprogress = (p) => progress.push([p.progress, p.message]);
    if (command.reset) options.resetTimeoutOnProgress = true;
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
  const answer = await ask(() => once(command), command.again);
  answers.push({ ...answer, version: transport.protocolVersion, urls: [...urls] });
}
await transport.terminateSession?.();
await client.close();
console.log(JSON.stringify(answers));
