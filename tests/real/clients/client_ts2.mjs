// Official TypeScript client 2.x; same usage as client_ts1.mjs, packages from
// PLACET_REAL_NODE_MODULES. ERA: auto or legacy. {"do": "task"} goes through the official
// ext-tasks package, which speaks the tasks of either era.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import path from "node:path";
import { ask } from "./model.mjs";

const modules = process.env.PLACET_REAL_NODE_MODULES;
const from = createRequire(path.join(modules, "x.js"));
const { Client, StreamableHTTPClientTransport, SdkErrorCode } = await import(
  pathToFileURL(from.resolve("@modelcontextprotocol/client")).href
);

const [url, token, era, commands, features = ""] = process.argv.slice(2);
const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { Authorization: `Bearer ${token}` } },
});
const urls = [];
const elicit = features.includes("elicit");
const info = { name: "ts2", version: "1" };
const capabilities = elicit ? { elicitation: { url: {} } } : {};
const client = new Client(info, { capabilities, versionNegotiation: { mode: era } });
if (elicit) {
  client.setRequestHandler("elicitation/create", (request) => {
    urls.push(request.params.url);
    return { action: "accept" };
  });
}
await client.connect(transport);
const version = client.getNegotiatedProtocolVersion?.();

// ext-tasks leaves it to its host to send what the client's own codecs do not know.
const raw = new Map();
const heard = transport.onmessage;
transport.onmessage = (message, extra) => {
  const settle = raw.get(message.id);
  if (!settle) return heard?.call(transport, message, extra);
  raw.delete(message.id);
  settle("error" in message ? { kind: "error", error: message.error } : { kind: "result", result: message.result });
};
let count = 0;
function rawDispatch(request) {
  const id = `raw-${++count}`;
  return new Promise((resolve, reject) => {
    raw.set(id, resolve);
    transport.send({ jsonrpc: "2.0", id, method: request.method, params: request.params }).catch(reject);
  });
}

async function asTask(command) {
  const tasks = await import(
    pathToFileURL(path.join(modules, "@modelcontextprotocol/ext-tasks/dist/client/index.js")).href
  );
  const framing =
    client.getProtocolEra() === "modern"
      ? { rawDispatch, v2RequestFraming: { protocolVersion: version, clientInfo: info, clientCapabilities: capabilities } }
      : {};
  const listed = (await client.listTools()).tools.map(tasks.toolDeclarationFromMcpTool);
  const tools = { currentTool: (name) => listed.find((t) => t.name === name) };
  const session = tasks.createTaskSessionFromClient(client, { endpointId: "matrix", tools, ...framing });
  try {
    const execution = await session.callTool(command.name, command.arguments, { task: { preference: "prefer" } });
    const states = [];
    const onEvent = (event) => void (event.type === "task" && states.push(event.task.status));
    const { outcome } = await execution.settle({ onEvent });
    const task = execution.handle?.taskId;
    // A task of 2025-11-25 that ended with a refusal: what the client shows of it is the message.
    if (outcome.status === "failed") return { failed: outcome.error.message, task, states };
    return { ok: tasks.resultFromTaskOutcome(outcome), task, states };
  } finally {
    await session.close();
  }
}

async function once(command) {
  const progress = [];
  try {
    if (command.do === "list") return { ok: await client.listTools() };
    if (command.do === "task") return await asTask(command);
    const options = {};
    if (command.timeout !== null) options.timeout = (command.timeout ?? 55) * 1000;
    if (command.progress) options.onprogress = (p) => progress.push([p.progress, p.message]);
    if (command.reset) options.resetTimeoutOnProgress = true;
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
  answers.push({ ...(await ask(() => once(command), command.again)), version, urls: [...urls] });
}
await client.close();
console.log(JSON.stringify(answers));
