"""Official Python client 1.x. Usage: client_py1.py URL TOKEN ERA COMMANDS; prints a JSON list.

COMMANDS is a JSON list of {"do": "list"} and {"do": "call", "name", "arguments", "timeout"?,
"progress"?}. One session serves them all. ERA is ignored: this client knows sessions only.
"""

import asyncio
import json
import sys
from datetime import timedelta

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.shared.exceptions import McpError


async def run(session, command):
    seen = []

    async def on_progress(progress, total, message):
        seen.append([progress, message])

    try:
        if command["do"] == "list":
            answer = await session.list_tools()
        else:
            answer = await session.call_tool(
                command["name"],
                command.get("arguments"),
                read_timeout_seconds=timedelta(seconds=command.get("timeout", 55)),
                progress_callback=on_progress if command.get("progress") else None,
            )
    except McpError as error:
        kind = "timeout" if error.error.code == 408 else "rpc"
        return {"error": {"kind": kind, "code": error.error.code, "message": error.error.message}}
    return {"ok": answer.model_dump(mode="json", by_alias=True, exclude_none=True), "progress": seen}


async def main():
    url, token, _era, commands = sys.argv[1:5]
    answers = []
    async with streamablehttp_client(url, headers={"Authorization": f"Bearer {token}"}) as (read, write, _):
        async with ClientSession(read, write) as session:
            version = (await session.initialize()).protocolVersion
            for command in json.loads(commands):
                answers.append(await run(session, command) | {"version": version})
    print(json.dumps(answers))


asyncio.run(main())
