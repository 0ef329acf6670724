"""Official Python client 2.x; same usage as client_py1.py, without tasks. ERA: auto or legacy."""

import asyncio
import json
import sys

import httpx2
import mcp_types as types
from mcp import MCPError
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from model import ask

URLS = []


async def on_elicitation(_context, params):
    if not isinstance(params, types.ElicitRequestURLParams):
        return types.ElicitResult(action="decline")
    URLS.append(params.url)
    return types.ElicitResult(action="accept")


async def once(client, command):
    seen = []

    async def on_progress(progress, total, message):
        seen.append([progress, message])

    try:
        if command["do"] == "list":
            answer = await client.list_tools()
        else:
            answer = await client.call_tool(
                command["name"],
                command.get("arguments"),
                read_timeout_seconds=command.get("timeout", 55),
                progress_callback=on_progress if command.get("progress") else None,
            )
    except MCPError as error:
        kind = "timeout" if error.error.code == -32001 else "rpc"
        return {"error": {"kind": kind, "code": error.error.code, "message": error.error.message}}
    return {"ok": answer.model_dump(mode="json", by_alias=True, exclude_none=True), "progress": seen}


async def main():
    url, token, era, commands, *features = sys.argv[1:]
    elicit = {"elicitation_callback": on_elicitation} if "elicit" in "".join(features) else {}
    answers = []
    http = httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {token}"}, timeout=httpx2.Timeout(30, read=300)
    )
    async with http, Client(streamable_http_client(url, http_client=http), mode=era, **elicit) as client:
        for command in json.loads(commands):
            answer = await ask(lambda: once(client, command), command.get("again", 0))
            answers.append({**answer, "version": client.protocol_version, "urls": list(URLS)})
    print(json.dumps(answers))


asyncio.run(main())
