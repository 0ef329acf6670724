"""What a model does with a call: it calls again, with the same arguments, where the answer says so
or where its client gave up waiting. Used by the Python clients."""


async def ask(once, again):
    """`once` until an answer stands, at most `again` times more; says how often, and how often
    the client gave up."""
    calls = timeouts = 0
    while True:
        calls += 1
        answer = await once()
        gave_up = answer.get("error", {}).get("kind") == "timeout"
        timeouts += gave_up
        decision = ((answer.get("ok") or {}).get("_meta") or {}).get("io.placet/decision") or {}
        pending = decision.get("code") == "approval_pending"
        if calls > again or not (gave_up or pending):
            return {**answer, "calls": calls, "timeouts": timeouts}
