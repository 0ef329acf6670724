"""An MCP server on stdio that keeps every line it is sent in DIR/seen and answers calls with the
text of DIR/result as it stands there. The one argument is DIR; the tools are listed in DIR/tools."""
import json
import pathlib
import sys

DIR = pathlib.Path(sys.argv[1])

for line in sys.stdin.buffer:
    with open(DIR / "seen", "ab") as seen:
        seen.write(line)
    message = json.loads(line)
    method = message.get("method")
    if "id" not in message:
        continue
    if method == "initialize":
        said = json.dumps({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                           "serverInfo": {"name": "record", "version": "1"}})
    elif method == "tools/list":
        said = (DIR / "tools").read_text("utf-8")
    elif method == "tools/call":
        said = (DIR / "result").read_text("utf-8")
    else:
        said = None
    part = '"error":{"code":-32601,"message":"no"}' if said is None else '"result":' + said
    answer = '{"jsonrpc":"2.0","id":' + json.dumps(message["id"]) + "," + part + "}\n"
    sys.stdout.buffer.write(answer.encode())
    sys.stdout.buffer.flush()
