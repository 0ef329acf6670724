"""Processes that sleep, are killed, or are told a late answer."""

import os
import signal
import subprocess
import time

from days.day import (
    ADMIN, BOTH, Case, code_of, decision_of, equal, expect, ready, settle_and_ask_anew, text_of, until,
)  # fmt: skip
from harness import binary

POSTGRES, SQLITE = ("PostgreSQL",), ("SQLite",)


def claimed_unheard(day, relay, broker, other, arguments):
    """Has the call claimed by `broker`, whose word of it is still on its way: then `broker` stops."""
    call, id = broker.mcp("slow").held("work", arguments)
    relay.delay = 0.7
    other.decide(id)
    end = time.monotonic() + 40
    # Without a pause: the word of it is on its way for 0.7 s.
    while day.state_in_store(id) != "running":
        expect(time.monotonic() < end, "it is claimed within 40 s")
    os.kill(broker.process.pid, signal.SIGSTOP)
    relay.delay = 0.0
    return call, id


def sleeper(day):
    """It claims, sleeps until others call it dead and run the call, and wakes up."""
    relay = day.relay()
    asleep, other = day.broker("a", through=relay).start(), day.broker("b").start()
    arguments = {"id": "asleep", "seconds": 0}
    call, id = claimed_unheard(day, relay, asleep, other, arguments)
    equal(day.upstream.started("asleep"), 0, "executions before it sleeps")
    with day.timed("others take it for dead", 45):
        end = other.state(id, {"approved", "indeterminate"}, 45)
    if end["state"] == "indeterminate":
        second = settle_and_ask_anew(day, other, id, arguments)
    else:
        second = other.mcp("slow").begin_call("work", arguments)
    equal(text_of(second.result(30)), "did work asleep", "run by the other")
    os.kill(asleep.process.pid, signal.SIGCONT)
    time.sleep(6)
    equal(day.upstream.started("asleep"), 1, "executions after it woke up")
    ready(asleep)
    expect(code_of(call.result(40)) in ("approved", "upstream_unavailable", "outcome_unknown", "outcome_settled"),
           f"the first agent has an answer ({call.answer})")  # fmt: skip
    again, id = asleep.mcp("slow").held("work", {"id": "awake"})
    asleep.decide(id)
    equal(text_of(again.result(20)), "did work awake", "the one that slept works again")


def killed_between(day):
    """Killed after the claim and before the call was sent: it surely did not run."""
    relay = day.relay()
    broker, other = day.broker("a", through=relay).start(), day.broker("b").start()
    arguments = {"id": "between"}
    call, id = claimed_unheard(day, relay, broker, other, arguments)
    broker.kill9()
    call.broken()
    with day.timed("true again", 30):
        equal(other.state(id, {"approved", "indeterminate"}, 40)["state"], "approved", "the state: it was not sent")
    equal(text_of(other.mcp("slow").call("work", arguments)), "did work between", "the identical call")
    equal(day.upstream.started("between"), 1, "executions")


def nap(day):
    """A process alone sleeps through its own lease while a call runs: it is not dead to itself."""
    hooks = day.webhooks()
    broker = day.broker(notifiers=[hooks.notifier()]).start()
    call, id = broker.mcp("slow").held("work", {"id": "nap", "seconds": 4})
    broker.decide(id)
    until(lambda: day.upstream.started("nap"), 10, "it runs")
    os.kill(broker.process.pid, signal.SIGSTOP)
    time.sleep(18)
    os.kill(broker.process.pid, signal.SIGCONT)
    equal(text_of(call.result(20)), "did work nap", "the answer")
    equal(broker.state(id, "completed", 10)["state"], "completed", "the state")
    hooks.of_type("approval.completed")
    time.sleep(4)
    told = [h for h in hooks.received if "approval.indeterminate" in h["body"]]
    equal(len(told), 0, "webhooks that call it indeterminate")
    ready(broker)


def long_outage(day):
    """The store can't be written for longer than a lease, while a call runs and ends."""
    hooks = day.webhooks()
    relay = day.relay() if day.postgres else None
    broker = day.broker(through=relay, notifiers=[hooks.notifier()]).start()
    call, id = broker.mcp("slow").held("work", {"id": "outage", "seconds": 3})
    broker.decide(id)
    until(lambda: day.upstream.started("outage"), 10, "it runs")
    with day.store_away(relay):
        time.sleep(20)
    equal(text_of(call.result(30)), "did work outage", "the answer")
    with day.timed("completed is stored", 20):
        broker.state(id, "completed", 20)
    hooks.of_type("approval.completed", 30)
    time.sleep(3)
    equal(len([h for h in hooks.received if "approval.indeterminate" in h["body"]]), 0, "webhooks of indeterminate")
    ready(broker)


def late_answer(day):
    """Given up, settled, asked anew, rejected; then the answer of the first comes."""
    upstream = {"name": "slow", "url": day.upstream.url, "timeout": "2s",
                "policy": {"version": "1", "tools": {"work": {"action": "require_approval"}}}}  # fmt: skip
    broker = day.broker(upstreams=[upstream], approvals={"cooldown": "0s"}).start()
    arguments = {"id": "late", "seconds": 9}
    mcp = broker.mcp("slow")
    call, first = mcp.held("work", arguments)
    broker.decide(first)
    equal(code_of(call.result(20)), "outcome_unknown", "the answer in time")
    broker.api("POST", f"/approvals/{first}/settle", {"done": False, "reason": "no"}, token=ADMIN, status=200)
    equal(code_of(mcp.call("work", arguments)), "outcome_settled", "the settled end")
    call, second = mcp.held("work", arguments)
    broker.decide(second, "reject")
    equal(code_of(call.result(20)), "approval_rejected", "the second answer")
    until(lambda: day.upstream.finished("late"), 20, "the first has run after all")
    settled = until(lambda: (a := broker.approval(first))["outcome"] and a, 20, "the late outcome is stored")["settled"]
    equal(settled["by"], "upstream", "who settled it")
    answer = mcp.begin_call("work", arguments)
    answer.join(4)
    expect(not answer.is_alive(), "the late answer is owed, and is told to whoever repeats the call")
    told = answer.result()
    equal((text_of(told), decision_of(told)["approval"]), ("did work late", first), "the late answer")
    call, third = mcp.held("work", arguments)
    expect(broker.approval(third).get("ran_before"), "reviewers of a further one see that it ran")
    broker.decide(third, "reject")
    call.result(20)
    equal(day.upstream.started("late"), 1, "executions")


def two_on_one_file(day):
    """A SQLite file has one broker: a second says who has it."""
    broker = day.broker().start()
    file = broker.dir / "second.toml"
    file.write_text(broker.file.read_text().replace(str(broker.port), "0").replace("127.0.0.1:0", "127.0.0.1:0"))
    done = subprocess.run(
        [binary(), "serve", "--config", file], capture_output=True, text=True, timeout=30, cwd=broker.dir
    )
    equal(done.returncode, 1, f"exit code ({done.stderr[-300:]})")
    expect(str(broker.process.pid) in done.stderr, f"the process that has it is named: {done.stderr[-400:]}")
    equal(broker.http("GET", "/readyz").status, 200, "readyz of the first")
    broker.kill9()
    broker.start()
    call, id = broker.mcp("slow").held("work", {"id": "alone"})
    broker.decide(id)
    equal(text_of(call.result(20)), "did work alone", "the answer after a kill and a start")


CASES = [
    Case("a process that slept after its claim sends nothing", sleeper, POSTGRES, seconds=60),
    Case("killed between claim and sending is approved still", killed_between, POSTGRES, seconds=45),
    Case("a process alone that slept is not dead to itself", nap, BOTH, seconds=35),
    Case("an outage longer than a lease ends with what is so", long_outage, BOTH, seconds=40),
    Case("a late answer is told though others came after it", late_answer, BOTH, seconds=25),
    Case("a second broker on a SQLite file is refused", two_on_one_file, SQLITE, seconds=10),
]
