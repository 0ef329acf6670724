"""FastMCP's client; same usage as client_py1.py, without tasks. ERA: auto or legacy."""

import asyncio
import json
import sys

import mcp_types as types
from fastmcp import Client
from fastmcp.client.auth import BearerAuth
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StreamableHttpTransport
from mcp import MCPError
from model import ask

URLS = []


async def on_elicitation(_message, _type, params, _context):
    if not isinstance(params, types.ElicitRequestURLParams):
        return ElicitResult(action="decline")
    URLS.append(params.url)
    return ElicitResult(action="accept")


async def once(client, command):
    seen = []

    async def on_progress(progress, total, message):
        seen.append([progress, message])

    try:
        if command["do"] == "list":
            answer = {"tools": [t.model_dump(mode="json", by_alias=True) for t in await client.list_tools()]}
        else:
            done = await client.call_tool_mcp(
                command["name"],
                command.get("arguments") or {},
                timeout=command.get("timeout", 55),
                progress_handler=on_progress if command.get("progress") else None,
            )
            answer = done.model_dump(mode="json", by_alias=True, exclude_none=True)
    except MCPError as error:
        kind = "timeout" if error.error.code == -32001 else "rpc"
        return {"error": {"kind": kind, "code": error.error.code, "message": error.error.message}}
    return {"ok": answer, "progress": seen}


async def main():
    url, token, era, commands, *features = sys.argv[1:]
    elicit = {"elicitation_handler": on_elicitation} if "elicit" in "".join(features) else {}
    answers = []
    async with Client(StreamableHttpTransport(url, auth=BearerAuth(token)), mode=era, **elicit) as client:
        for command in json.loads(commands):
            answer = await ask(lambda: once(client, command), command.get("again", 0))
            answers.append({**answer, "urls": list(URLS)})
    print(json.dumps(answers))


asyncio.run(main())
