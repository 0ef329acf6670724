"""Official Python client 1.x. Usage: client_py1.py URL TOKEN ERA COMMANDS [FEATURES]; prints a
JSON list.

COMMANDS is a JSON list of {"do": "list"}, {"do": "call", "name", "arguments", "timeout"?,
"progress"?, "again"?} and {"do": "task", "name", "arguments"}. One session serves them all. `timeout` in
seconds is 55 unless given; null leaves the client its own default. `again`: how often to call
again on a hand-over or a local timeout. FEATURES: a comma list; `elicit` declares URL elicitation
and agrees to every one. ERA `sse` is the transport of 2024-11-05, at URL/sse; otherwise it
is ignored: this client knows sessions only.
"""

import asyncio
import json
import sys
from datetime import timedelta

import mcp.types as types
from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client
from mcp.shared.exceptions import McpError
from model import ask

URLS = []


async def on_elicitation(_context, params):
    if not isinstance(params, types.ElicitRequestURLParams):
        return types.ElicitResult(action="decline")
    URLS.append(params.url)
    return types.ElicitResult(action="accept")


async def as_task(session, command):
    made = await session.experimental.call_tool_as_task(command["name"], command.get("arguments"))
    states = [made.task.status]
    async for status in session.experimental.poll_task(made.task.taskId):
        states.append(status.status)
    answer = await session.experimental.get_task_result(made.task.taskId, types.CallToolResult)
    return answer, {"task": made.task.taskId, "states": states}


async def once(session, command):
    seen, more = [], {}

    async def on_progress(progress, total, message):
        seen.append([progress, message])

    limit = command.get("timeout", 55)
    try:
        if command["do"] == "list":
            answer = await session.list_tools()
        elif command["do"] == "task":
            answer, more = await as_task(session, command)
        else:
            answer = await session.call_tool(
                command["name"],
                command.get("arguments"),
                read_timeout_seconds=None if limit is None else timedelta(seconds=limit),
                progress_callback=on_progress if command.get("progress") else None,
            )
    except McpError as error:
        kind = "timeout" if error.error.code == 408 else "rpc"
        return {"error": {"kind": kind, "code": error.error.code, "message": error.error.message}}
    ok = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"ok": ok, "progress": seen, **more}


async def main():
    url, token, era, commands, *features = sys.argv[1:]
    elicit = {"elicitation_callback": on_elicitation} if "elicit" in "".join(features) else {}
    answers = []
    headers = {"Authorization": f"Bearer {token}"}
    if era == "sse":
        transport = sse_client(f"{url}/sse", headers=headers)
    else:
        transport = streamablehttp_client(url, headers=headers)
    async with transport as (read, write, *_):
        async with ClientSession(read, write, **elicit) as session:
            version = (await session.initialize()).protocolVersion
            for command in json.loads(commands):
                answer = await ask(lambda: once(session, command), command.get("again", 0))
                answers.append({**answer, "version": version, "urls": list(URLS)})
    print(json.dumps(answers))


asyncio.run(main())
