"""Channels and upstreams that hang, refuse for good, or take a mail twice."""

import json
import socket
import time

from days.day import BOTH, Case, code_of, equal, expect, ready, until
from relay import Relay
from suites.mail import mail_notifier

SQLITE = ("SQLite",)


def requested(hooks):
    return [h for h in list(hooks.received) if json.loads(h["body"])["type"] == "approval.requested"]


def deaf_mail(day):
    """A mail server that accepts and never speaks holds up no webhook."""
    hooks = day.webhooks()
    deaf = socket.create_server(("127.0.0.1", 0), backlog=100)
    day.closers.append(deaf.close)
    mail = mail_notifier(None, f"smtp://127.0.0.1:{deaf.getsockname()[1]}")
    broker = day.broker(notifiers=[mail, hooks.notifier()]).start()
    calls = [broker.mcp("slow").begin_call("work", {"id": f"deaf {n}"}) for n in range(30)]
    until(lambda: len(broker.approvals(state="pending")) == 30, 20, "30 are pending")
    with day.timed("30 webhooks", 12):
        until(lambda: len(requested(hooks)) >= 30, 30, "30 webhooks came")
    for approval in broker.approvals(state="pending"):
        broker.decide(approval["id"], "reject")
    for call in calls:
        equal(code_of(call.result(30)), "approval_rejected", "the answer")


def deaf_upstream(day):
    """An upstream that goes silent holds up no unattended run of another."""
    behind = Relay(day, day.upstream.port)
    other = day.slow_upstream()
    rule = {"action": "require_approval", "approval": {"unattended": "run"}}
    policy = {"version": "1", "tools": {"work": rule}}
    # The default: so long a list of tools may take.
    broker = day.broker(approvals={"heartbeat": "10s"}, upstreams=[
        {"name": "deaf", "url": f"http://127.0.0.1:{behind.port}/mcp", "policy": policy},
        {"name": "slow", "url": other.url, "policy": policy},
    ]).start()  # fmt: skip

    def left(upstream, id):
        call, approval = broker.mcp(upstream).held("work", {"id": id})
        call.abandon()
        broker.not_waiting(approval, 20)
        return approval

    silent = [left("deaf", f"deaf {n}") for n in range(8)]
    healthy = left("slow", "healthy")
    behind.silent = True
    for id in silent:
        broker.decide(id)
    time.sleep(2)
    broker.decide(healthy)
    with day.timed("the healthy one ran", 8):
        broker.state(healthy, "completed", 60)
    behind.silent = False
    for n, id in enumerate(silent):
        broker.state(id, {"completed", "indeterminate"}, 120)
        expect(day.upstream.started(f"deaf {n}") <= 1, "executions")


def gone_hook(day):
    """A webhook that answered 410 stays disabled over a restart."""
    hooks = day.webhooks()
    hooks.answers += [410]
    broker = day.broker(notifiers=[hooks.notifier()]).start()
    call, id = broker.mcp("slow").held("work", {"id": "gone"})
    until(lambda: hooks.received, 20, "the first webhook")
    broker.decide(id, "reject")
    call.result(20)
    broker.stop()
    hooks.received.clear()
    broker.start()
    call, id = broker.mcp("slow").held("work", {"id": "gone again"})
    broker.decide(id, "reject")
    call.result(20)
    time.sleep(3)
    equal(len(hooks.received), 0, "webhooks after 410 and a restart")
    checks = broker.http("GET", "/readyz").json()
    expect(checks["status"] == "degraded", f"readyz says so: {checks}")


def killed_in_a_mail(day):
    """Killed in the middle of a mail: the next process sends it soon, not after a minute."""
    sink = day.mail_sink()
    between = Relay(day, sink.port)
    broker = day.broker(notifiers=[mail_notifier(None, f"smtp://127.0.0.1:{between.port}")]).start()
    between.silent = True
    _call, id = broker.mcp("slow").held("work", {"id": "mail"})
    time.sleep(2)
    broker.kill9()
    between.silent = False
    began = time.monotonic()
    broker.start()
    sink.wait("ana@example.org", 1, 40)
    day.recovered.append(("the mail", time.monotonic() - began))
    expect(time.monotonic() - began < 30, f"the mail came after {time.monotonic() - began:.1f} s")
    broker.decide(id, "reject")
    ready(broker)


CASES = [
    Case("a mail server that hangs holds up no webhook", deaf_mail, BOTH, seconds=20),
    Case("an upstream that hangs holds up no other", deaf_upstream, BOTH, seconds=60),
    Case("a webhook that is gone stays so over a restart", gone_hook, SQLITE, seconds=15),
    Case("a mail cut off by a kill is sent soon", killed_in_a_mail, SQLITE, seconds=30),
]
