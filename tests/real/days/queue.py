"""The queue on bad days: many people at once, retention, backups, listeners, clients that leave."""

import concurrent.futures
import json
import subprocess
import threading
import time

from days.day import BOTH, Case, code_of, equal, expect, text_of, until
from harness import AGENT, ANA, binary

POSTGRES, SQLITE = ("PostgreSQL",), ("SQLite",)


def rush(day):
    """A hundred people approve at once: nobody sees the database's races."""
    people = [
        {"name": f"p{n}", "email": f"p{n}@example.org", "token": f"token-of-person-{n:03}-0123456789"}
        for n in range(100)
    ]
    policy = {"version": "1", "tools": {"work": {
        "action": "require_approval", "approval": {"quorum": 60, "reviewers": [p["name"] for p in people]}}}}  # fmt: skip
    upstream = {"name": "slow", "url": day.upstream.url, "policy": policy}
    people.append({"name": "ana", "email": "ana@example.org", "token": ANA})
    brokers = [day.broker("a", upstreams=[upstream], reviewers=people).start()]
    if day.postgres:
        brokers.append(day.broker("b", upstreams=[dict(upstream, policy=policy)], reviewers=people).start())
    token = people.pop()["token"]
    call = brokers[0].mcp("slow").begin_call("work", {"id": "rush"})
    id = until(lambda: brokers[0].approvals(token=token, state="pending"), 15, "it is pending")[0]["id"]
    gate = threading.Barrier(len(people))

    def approve(n):
        gate.wait()
        body = {"decision": "approve", "reason": "yes"}
        broker = brokers[n % len(brokers)]
        return broker.api("POST", f"/approvals/{id}/decision", body, token=people[n]["token"])

    with concurrent.futures.ThreadPoolExecutor(len(people)) as pool:
        replies = list(pool.map(approve, range(len(people))))
    statuses = sorted(r.status for r in replies)
    # The sixtieth approves; whoever comes after that is told so.
    equal([s for s in statuses if s not in (200, 409)], [], f"statuses ({statuses})")
    expect(statuses.count(200) >= 60, f"statuses {statuses}")
    equal(text_of(call.result(30)), "did work rush", "the answer")
    equal(day.upstream.started("rush"), 1, "executions")


def retention(day):
    """Retention that would delete what is owed is refused."""
    broker = day.broker()
    for approvals in (
        {"history_retention": "1h", "result_retention": "2h"},
        {"history_retention": "1h", "result_retention": "30m", "cooldown": "3h"},
    ):
        broker.config["approvals"] = approvals
        broker.write()
        done = subprocess.run([binary(), "check", "--config", broker.file], capture_output=True, text=True, timeout=30)
        said = done.stdout + done.stderr
        equal(done.returncode, 2, f"exit code ({said[-300:]})")
        expect("approvals.history_retention" in said, f"the key is named: {said[-300:]}")


def backup(day):
    """A restored copy runs nothing a second time."""
    broker = day.broker().start()
    call, id = broker.mcp("slow").held("work", {"id": "copied"})
    call.abandon()
    broker.not_waiting(id, 20)
    broker.decide(id)
    broker.state(id, "approved")
    copy = day.dir / "copy.db"
    done = broker.command("backup", copy)
    equal(done.returncode, 0, f"exit code of backup ({done.stderr[-300:]})")
    equal(text_of(broker.mcp("slow").call("work", {"id": "copied"})), "did work copied", "run after the copy")
    equal(day.upstream.started("copied"), 1, "executions")
    equal(broker.stop(), 0, "exit code")
    done = broker.command("restore", copy)
    expect(done.returncode != 0, "a restore over a database that is there needs to be wanted")
    for file in broker.dir.glob("a.db*"):
        file.unlink()
    done = broker.command("restore", copy)
    equal(done.returncode, 0, f"exit code of restore ({done.stderr[-300:]})")
    broker.start()
    end = broker.approval(id)
    equal(end["state"], "indeterminate", "what was approved at the copy may have run since")
    equal(code_of(broker.mcp("slow").call("work", {"id": "copied"})), "outcome_unknown", "the identical call")
    equal(day.upstream.started("copied"), 1, "executions")


def listeners(day):
    """A burst of changes on one broker reaches the listeners of another, or they are told to look."""
    brokers = [day.broker(n, approvals={"max_pending_per_agent": 2000, "hold": "1s",
                                        "max_new_per_agent": {"max": 5000, "window": 60}}).start()
               for n in ("ab" if day.postgres else "a")]  # fmt: skip
    import http.client

    seen, told, last = set(), threading.Event(), []

    def listen(headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", brokers[-1].port, timeout=30)
        auth = {"Authorization": f"Bearer {ANA}", **(headers or {})}
        connection.request("GET", "/api/v1/events", headers=auth)
        return connection, connection.getresponse()

    connection, stream = listen()

    def read(stream):
        event = ""
        for line in stream:
            line = line.rstrip()
            if line.startswith(b"id:"):
                last[:] = [line[3:].strip().decode()]
            elif line.startswith(b"event:"):
                event = line[6:].strip().decode()
                if event != "approval":
                    told.set()
            elif line.startswith(b"data:") and event == "approval":
                seen.add(json.loads(line[5:])["arguments"]["id"] if b'"arguments"' in line else "")

    def quiet_read(stream):
        try:
            read(stream)
        except (OSError, http.client.HTTPException, ValueError):
            pass

    reader = threading.Thread(target=quiet_read, args=(stream,), daemon=True)
    reader.start()
    mcp = brokers[0].mcp("slow")

    def ask(prefix, n):
        mcp_call = mcp.call("work", {"id": f"{prefix} {n}"}, timeout=60)
        equal(code_of(mcp_call), "approval_pending", f"the answer ({mcp_call})")

    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        list(pool.map(lambda n: ask("burst", n), range(300)))
    until(lambda: told.is_set() or sum(s.startswith("burst") for s in seen) == 300, 20, f"all are seen ({len(seen)})")
    expect(last, "events have ids")
    import socket

    connection.sock.shutdown(socket.SHUT_RDWR)
    reader.join(10)
    told.clear()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: ask("missed", n), range(20)))
    _, stream = listen({"Last-Event-ID": last[0]})
    threading.Thread(target=quiet_read, args=(stream,), daemon=True).start()
    until(lambda: told.is_set() or sum(s.startswith("missed") for s in seen) == 20, 20,
          "what was missed is told after Last-Event-ID")  # fmt: skip


def leaves(day):
    """`on_disconnect = "withdraw"` counts those who wait elsewhere."""
    agents = [{"name": "agent", "token": AGENT, "on_disconnect": "withdraw"}]
    brokers = [day.broker(n, agents=agents).start() for n in ("ab" if day.postgres else "a")]
    arguments = {"id": "leaves"}
    here, id = brokers[0].mcp("slow").held("work", arguments)
    there = brokers[-1].mcp("slow").begin_call("work", arguments)
    until(lambda: day.sql("select count(*) from holds") == "2", 10, "both are attached")
    here.abandon()
    time.sleep(4)
    equal(brokers[0].approval(id)["state"], "pending", "one still waits")
    there.abandon()
    brokers[0].state(id, "cancelled", 10)


CASES = [
    Case("a hundred people at once see no race", rush, BOTH, seconds=20),
    Case("retention that deletes what is owed is refused", retention, SQLITE, seconds=3),
    Case("a restored copy runs nothing again", backup, SQLITE, seconds=25),
    Case("listeners miss nothing, or are told so", listeners, BOTH, seconds=20),
    Case("a client that leaves withdraws nothing that others wait for", leaves, BOTH, seconds=20),
]
