"""Learns how long a client waits, from a client that really gives up: the official TypeScript
client with a timer of 21 s, three times in a row; its fourth call is answered before that. Takes
85 s, so it runs under PLACET_REAL_SLOW only.
"""

import json
import os
import subprocess
import time

from harness import HERE, Placet, Stage, code_of, equal, expect, node

# Below 20 s nothing is learned.
GIVES_UP = 21
AGENT = {"name": "hasty", "token": "hasty-token-0123456789abcdef"}
POLICY = {"version": "1", "tools": {"work": {"action": "require_approval"}}}


def call(broker, id):
    command = {"do": "call", "name": "work", "arguments": {"id": id}, "timeout": GIVES_UP, "again": 0}
    began = time.monotonic()
    done = subprocess.run(
        [node(), str(HERE / "clients" / "client_ts1.mjs"), f"{broker.url}/mcp/slow", AGENT["token"], "legacy",
         json.dumps([command])],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, env=os.environ,
    )  # fmt: skip
    expect(done.returncode == 0, f"the client fails: {done.stderr[-600:]}")
    return json.loads(done.stdout.splitlines()[-1])[0], time.monotonic() - began


def without_progress(broker):
    agents = broker.api("GET", "/agents").json()["agents"]
    holds = next(a for a in agents if a["name"] == AGENT["name"])["holds"]
    return next(h for h in holds if not h["with_progress"])


def run(report):
    with Stage(report) as stage:
        upstream = stage.slow_upstream()
        broker = Placet(stage, [{"name": "slow", "url": upstream.url, "policy": POLICY}], agents=[AGENT]).start()
        with report.case("a client gives up after 21 s, three times, and is held for the whole of it"):
            for n in range(3):
                answer, took = call(broker, f"dropped-{n}")
                equal((answer.get("error") or {}).get("kind"), "timeout", f"the client's own timer ({answer})")
                expect(took >= GIVES_UP, f"{took:.1f} s")
        with report.case("its next call is answered before it would give up"):
            answer, took = call(broker, "answered")
            equal(code_of(answer.get("ok") or {}), "approval_pending", f"handed over ({answer})")
            expect(took < GIVES_UP, f"it took {took:.1f} s")
        with report.case("the budget is four fifths of what it waited, and said to be learned"):
            hold = without_progress(broker)
            equal(hold["source"], "learned", "where the budget comes from")
            expect(0.75 * GIVES_UP < hold["budget_ms"] / 1000 < 0.85 * GIVES_UP, f"{hold}")
