"""An MCP server on stdio for tests. The one argument says how it behaves."""
import json
import os
import subprocess
import sys
import time

mode = sys.argv[1]


def send(message):
    text = message if isinstance(message, str) else json.dumps(message)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def result(request, value):
    send({"jsonrpc": "2.0", "id": request["id"], "result": value})


def error(request, code):
    send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": "no"}})


def progress(request):
    """Tells of the request, where its sender wants to hear of it."""
    token = request["params"].get("_meta", {}).get("progressToken")
    if token is not None:
        send('{"jsonrpc":"2.0","method":"notifications/progress",'
             '"params":{"progressToken":%d,"progress":0.50}}' % token)


if mode == "exit-at-once":
    sys.stderr.write("first line\n\x1b[31mno module named 'x'\n\n")
    sys.exit(3)
if mode == "tells-secret":
    sys.stderr.write(f"key {os.environ['KEY']} is not good for {sys.argv[2]}\n")
    sys.exit(3)
if mode == "stubborn":
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "grandchild":
    # Outlives its parent unless the whole group is ended; it keeps nothing of ours open.
    left = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

if mode == "mark":
    sys.stdout.write("\ufeff")
# What a server of both eras settled for at the first word it heard.
era = None

cancelled = []
counted = 0
waiting = None
# What a server that tells of changes was asked for.
listens = {}
subscribed = set()
levels = []


def tells(request):
    """The part of a server that tells of changes, in either era; true if that was all."""
    method = request.get("method")
    params = request.get("params", {})
    if method == "server/discover" and mode == "tells-modern":
        result(request, {"supportedVersions": ["2026-07-28"], "capabilities": {
            "tools": {"listChanged": True}, "resources": {"subscribe": True}, "logging": {}}})
    elif method == "initialize":
        result(request, {"protocolVersion": "2025-06-18", "serverInfo": {"name": "fake"},
                         "capabilities": {"tools": {}, "resources": {"subscribe": True},
                                          "logging": {}}})
    elif method == "subscriptions/listen":
        listens[request["id"]] = params["notifications"].get("resourceSubscriptions", [])
        send({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {
            "notifications": params["notifications"],
            "_meta": {"io.modelcontextprotocol/subscriptionId": request["id"]}}})
    elif method == "notifications/cancelled" and params["requestId"] in listens:
        del listens[params["requestId"]]
    elif method == "resources/subscribe":
        subscribed.add(params["uri"])
        result(request, {})
    elif method == "resources/unsubscribe":
        subscribed.discard(params["uri"])
        result(request, {})
    elif method == "logging/setLevel":
        levels.append(params["level"])
        result(request, {})
    elif method == "tools/call":
        told = params.get("arguments", {})
        if "update" in told:
            uri = told["update"]
            if uri in subscribed:
                send({"jsonrpc": "2.0", "method": "notifications/resources/updated",
                      "params": {"uri": uri}})
            for listen, uris in listens.items():
                if uri in uris:
                    send({"jsonrpc": "2.0", "method": "notifications/resources/updated",
                          "params": {"uri": uri, "_meta": {
                              "io.modelcontextprotocol/subscriptionId": listen}}})
        if "end" in told:
            for listen in list(listens):
                send({"jsonrpc": "2.0", "method": "notifications/cancelled",
                      "params": {"requestId": listen}})
            listens.clear()
        if "log" in told:
            send({"jsonrpc": "2.0", "method": "notifications/message",
                  "params": {"level": told["log"], "data": 1}})
        if "die" in told:
            sys.exit(3)
        result(request, {"listens": list(listens.values()), "subscribed": sorted(subscribed),
                         "levels": levels})
    else:
        return False
    return True


for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if mode == "garbage":
        sys.stdout.write("Server is ready!\n\n{not json\n")
    if mode.startswith("tells") and tells(message):
        continue
    if method == "server/discover":
        if mode == "exit-on-probe":
            sys.exit(1)
        if mode == "silent-on-probe":
            continue
        if mode == "both" and era == "legacy":
            error(message, -32600)
        elif mode in ("modern", "both"):
            era = "modern"
            result(message, {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})
        else:
            error(message, -32602)
    elif method == "initialize":
        if mode == "exit-always":
            sys.exit(7)
        if mode == "modern" or era == "modern":
            error(message, -32600)
            continue
        era = "legacy"
        result(message, {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                         "serverInfo": {"name": "fake", "version": "1"}})
    elif method == "tools/list":
        result(message, {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]})
    elif method == "tools/call":
        tool = message["params"].get("arguments", {})
        if tool.get("do") == "die":
            sys.stderr.write("fatal: out of cheese\n")
            sys.exit(9)
        elif tool.get("do") == "bye":
            result(message, {})
            sys.exit(4)
        elif tool.get("do") == "hang":
            waiting = message
            progress(message)
        elif tool.get("do") == "break-off":
            send('{"jsonrpc":"2.0","id":%d,"result":{"a":' % message["id"])
        elif tool.get("do") == "say":
            send(tool["what"].replace("$ID", str(message["id"])))
        elif tool.get("do") == "huge":
            result(message, "x" * (2 << 20))
        elif tool.get("do") == "huge-lines":
            send(json.dumps({"result": ["x" * 64] * 40000, "id": message["id"]}, indent=1))
        elif tool.get("do") == "ask":
            send({"jsonrpc": "2.0", "id": "q1", "method": "elicitation/create", "params": {}})
            waiting = message
        elif tool.get("do") == "env":
            result(message, {"env": sorted(os.environ), "pid": os.getpid()})
        elif tool.get("do") == "grandchild":
            result(message, {"pid": left.pid})
        elif tool.get("do") == "count":
            counted += 1
            result(message, {"counted": counted})
        elif tool.get("do") == "progress":
            progress(message)
            result(message, {})
        else:
            # The very bytes of the line, as a JSON string.
            result(message, {"line": line.rstrip("\n")})
        if mode in ("finishes", "leaves"):
            os._exit(0 if mode == "finishes" else 4)
    elif method == "notifications/cancelled":
        cancelled.append(message["params"]["requestId"])
        if waiting is not None:
            result(waiting, {"cancelled": cancelled})
            waiting = None
    elif method is None and waiting is not None:
        result(waiting, {"told": message.get("error", {}).get("code")})
        waiting = None
if mode == "stubborn":
    time.sleep(600)
