"""The Inspector's command line, one process per call; same usage as client_py1.py. ERA: legacy,
auto or modern. It gives no way to set a timer, so `timeout` is its own, and shows no progress.
Where the server speaks tasks it uses them by itself.
"""

import asyncio
import json
import os
import sys
import tempfile

from model import ask

MODULES = os.environ["PLACET_REAL_NODE_MODULES"]
CLI = [
    os.environ["PLACET_REAL_NODE"],
    f"{MODULES}/@modelcontextprotocol/inspector/clients/cli/build/index.js",
]


async def once(url, token, era, command, home):
    what = ["--method", "tools/list"]
    if command["do"] != "list":
        arguments = json.dumps(command.get("arguments") or {})
        what = ["--method", "tools/call", "--tool-name", command["name"], "--tool-args-json", arguments]
    process = await asyncio.create_subprocess_exec(
        *CLI, "--transport", "http", "--server-url", url, "--header", f"Authorization: Bearer {token}",
        "--stored-auth-only", "--protocol-era", era, "--format", "json", *what,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": home},
    )  # fmt: skip
    out, err = (text.decode() for text in await process.communicate())
    if out.strip():
        ok = json.loads(out)["result"]
        # 5 is the documented exit code of a result with isError.
        wanted = 5 if ok.get("isError") else 0
        assert process.returncode == wanted, f"exit code {process.returncode}: {err[-300:]}"
        return {"ok": ok}
    kind = "timeout" if "timed out" in err else "rpc"
    return {"error": {"kind": kind, "code": process.returncode, "message": err[-300:]}}


async def main():
    url, token, era, commands = sys.argv[1:5]
    answers = []
    with tempfile.TemporaryDirectory(prefix="placet-inspector-") as home:
        for command in json.loads(commands):
            answers.append(await ask(lambda: once(url, token, era, command, home), command.get("again", 0)))
    print(json.dumps(answers))


asyncio.run(main())
