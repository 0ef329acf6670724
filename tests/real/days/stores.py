"""The database's bad days: full, silent, gone, locked, or its answer is lost."""

import contextlib
import os
import subprocess
import threading
import time

from days.day import (
    BOTH, Case, code_of, decision_of, equal, expect, quick, ready, status, text_of, truthful, until,
)  # fmt: skip
from harness import AGENT

POSTGRES, SQLITE = ("PostgreSQL",), ("SQLite",)
NEIGHBOUR = "neighbour-token-0123456789ab"


def full_disk(day):
    """A small file system that fills while a call runs, and has space again."""
    place = day.dir / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "placet", place], capture_output=True, text=True)
    expect(mounted.returncode == 0, f"no tmpfs can be mounted (needs root): {mounted.stderr}")
    day.closers.append(lambda: subprocess.run(["umount", "-l", place], capture_output=True))
    broker = day.broker()
    broker.config["database"]["url"] = f"sqlite:{place}/placet.db"
    broker.write()
    broker.start()
    call, id = broker.mcp("slow").held("work", {"id": "full", "seconds": 3})
    broker.decide(id)
    until(lambda: day.upstream.started("full"), 10, "it runs")

    ballast = place / "ballast"

    def fill():
        with open(ballast, "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    fill()
    # The log of writes may have room of its own left: filled as well.
    refused = None
    for n in range(40):
        answer = broker.mcp("slow").begin_call("work", {"id": f"room {n}", "pad": "x" * 100_000}, timeout=30)
        answer.join(1.5)
        if not answer.is_alive():
            refused = answer.result()
            break
        answer.abandon()
        fill()
    expect(refused is not None, "the disk is never full")
    equal((code_of(refused), decision_of(refused)["retryable"]), ("unavailable", True), f"the answer ({refused})")
    until(lambda: day.upstream.finished("full"), 10, "it has run")
    quick(broker, "while the disk is full")
    # It ran, and that could not be stored: whoever repeats it is told nothing else.
    again = broker.mcp("slow").begin_call("work", {"id": "full", "seconds": 3}, timeout=60)
    again.join(4)
    if not again.is_alive():
        truthful(again.result(), ran=True)
    ballast.unlink()
    with day.timed("stored again", 20):
        equal(text_of(call.result(30)), "did work full", "the first answer")
        broker.state(id, "completed", 20)
        ready(broker)
    again.abandon()
    later, id = broker.mcp("slow").held("work", {"id": "later"})
    broker.decide(id)
    equal(text_of(later.result(20)), "did work later", "a call afterwards")
    equal(day.upstream.started("full"), 1, "executions")
    began = time.monotonic()
    equal(broker.stop(), 0, "exit code")
    expect(time.monotonic() - began < 8, f"SIGTERM took {time.monotonic() - began:.1f} s")


@contextlib.contextmanager
def losing(relay):
    relay.losing_commits = True
    try:
        yield
    finally:
        relay.losing_commits = False


def lost_submission(day):
    relay = day.relay()
    broker = day.broker(through=relay).start()
    for n in range(5):
        arguments = {"id": f"submission {n}"}
        before = relay.lost
        with losing(relay):
            call = broker.mcp("slow").begin_call("work", arguments)
            until(lambda before=before: relay.lost > before, 10, "an answer of COMMIT is lost")
            time.sleep(1)
        broker_pending = broker.pending(arguments)["id"]
        expect(call.is_alive(), f"it is pending, and its agent was told: {call.answer}")
        broker.decide(broker_pending)
        equal(text_of(call.result(30)), f"did work submission {n}", "the answer")
        equal(day.upstream.started(f"submission {n}"), 1, "executions")
    ready(broker)


def lost_decision(day):
    relay = day.relay()
    broker = day.broker(through=relay).start()
    for n, decision in enumerate(("approve", "reject") * 3):
        arguments = {"id": f"decision {n}"}
        call, id = broker.mcp("slow").held("work", arguments)
        with losing(relay):
            reply = broker.api("POST", f"/approvals/{id}/decision", {"decision": decision, "reason": "so"})
        equal(reply.status, 200, f"the answer to the reviewer ({reply.text[:300]})")
        wanted = "approved" if decision == "approve" else "approval_rejected"
        equal(code_of(call.result(40)), wanted, "the answer to the agent")
        equal(day.upstream.started(f"decision {n}"), int(decision == "approve"), "executions")
    ready(broker)


def lost_claim(day):
    """Whichever of the commits between the decision and the outcome loses its answer."""
    relay = day.relay()
    broker = day.broker(through=relay).start()
    for n in range(4):
        arguments = {"id": f"claim {n}"}
        call, id = broker.mcp("slow").held("work", arguments)
        over = threading.Event()

        def watch(id=id, over=over):
            until(lambda: over.is_set() or day.state_in_store(id) != "pending", 10, "it is decided")

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        relay.losing_commits = True
        broker.api("POST", f"/approvals/{id}/decision", {"decision": "approve", "reason": "so"})
        time.sleep(0.2 * n)
        over.set()
        watcher.join(15)
        time.sleep(1)
        relay.losing_commits = False
        with day.timed("true again", 45):
            end = broker.state(id, {"completed", "indeterminate", "approved"}, 40)
        ran = day.upstream.started(f"claim {n}")
        if end["state"] == "approved":
            # Given back: the identical call runs it.
            call.join(1)
            answer = call.result() if not call.is_alive() else None
            if answer is None or code_of(answer) != "approved":
                equal(text_of(broker.mcp("slow").call("work", arguments)), f"did work claim {n}", "run again")
        else:
            equal(text_of(truthful(call.result(40), ran)), f"did work claim {n}", "the answer")
        equal(day.upstream.started(f"claim {n}"), 1, "executions")
    ready(broker)


def held_lock(day):
    """One broker is cut off inside the transaction of a submission; the other goes on."""
    relay = day.relay()
    agents = [{"name": "agent", "token": AGENT}, {"name": "neighbour", "token": NEIGHBOUR}]
    stuck = day.broker("a", through=relay, agents=agents).start()
    other = day.broker("b", agents=agents).start()
    held, id = other.mcp("slow").held("work", {"id": "before"})
    relay.still_at = b"lockme"
    call = stuck.mcp("slow").begin_call("work", {"id": "lockme"})
    expect(relay.stilled.wait(20), "the submission's transaction is cut off")
    # The same agent's next submission waits till the database ends the one cut off.
    began = time.monotonic()
    same = other.mcp("slow").begin_call("work", {"id": "same agent"})
    neighbour = other.mcp("slow", token=NEIGHBOUR)
    slowest, rounds = 0.0, 0
    while time.monotonic() - began < 12:
        start = time.monotonic()
        equal(other.http("GET", "/readyz", timeout=20).status, 200, "readyz of the other")
        gated = neighbour.begin_call("work", {"id": f"other {rounds}"})
        other.decide(other.pending({"id": f"other {rounds}"})["id"])
        equal(text_of(gated.result(20)), f"did work other {rounds}", "a gated call on the other")
        quick(other, "on the other")
        slowest = max(slowest, time.monotonic() - start)
        rounds += 1
    day.recovered.append(("the slowest round of others", slowest))
    expect(slowest < 4, f"a round took {slowest:.1f} s")
    other.decide(id)
    equal(text_of(held.result(20)), "did work before", "a call held before")
    other.decide(other.pending({"id": "same agent"})["id"])
    equal(text_of(same.result(20)), "did work same agent", "the same agent")
    relay.still_at = None
    answer = call.result(60)
    equal(code_of(answer), "unavailable", f"the answer of the one cut off ({answer})")
    with day.timed("the one cut off is ready", 40):
        ready(stuck)
    # The same call by the same agent is free again.
    again, id = stuck.mcp("slow").held("work", {"id": "lockme"})
    stuck.decide(id)
    equal(text_of(again.result(20)), "did work lockme", "asked again")


def silent(day):
    """A firewall drops everything between one broker and the database."""
    relay = day.relay()
    lone, other = day.broker("a", through=relay).start(), day.broker("b").start()
    call, id = lone.mcp("slow").held("work", {"id": "silent"})
    relay.silent = True
    began = time.monotonic()
    with day.timed("readyz is not 200", 30):
        until(lambda: status(lone, timeout=10) == 503, 40, "readyz is 503")
    quick(lone, "while the network is silent")
    # It can't tell others that it holds the call, so it does not go on holding it.
    answer = call.result(45)
    expect(code_of(answer) in ("approval_pending", "unavailable"), f"the held call is handed over ({answer})")
    day.recovered.append(("handed over", time.monotonic() - began))
    expect(not other.approval(id)["waiting"] or time.monotonic() - began < 30, "waiting is not true for ever")
    other.not_waiting(id, 30)
    relay.back()
    with day.timed("ready again", 30):
        ready(lone)
    again = lone.mcp("slow").begin_call("work", {"id": "silent"})
    lone.waiting(id)
    other.decide(id)
    equal(text_of(again.result(20)), "did work silent", "the answer afterwards")
    equal(day.upstream.started("silent"), 1, "executions")


def away(day):
    """Allowed calls go on at once, held ones hear signs of life, and a drain ends in its time."""
    relay = day.relay() if day.postgres else None
    broker = day.broker(through=relay, sections={"server": {"shutdown_grace": "4s"}})
    broker.config["server"].setdefault("listen", f"127.0.0.1:{broker.port}")
    broker.config["server"]["public_url"] = broker.url
    broker.write()
    broker.start()
    quick(broker, "before")
    calls = [broker.mcp("slow").begin_call("work", {"id": f"held {n}"}) for n in range(40)]
    until(lambda: len(broker.approvals(state="pending")) == 40, 30, "40 are held")
    with day.store_away(relay):
        time.sleep(2)
        quick(broker, "while the store is away", within=1.5)
        counts = [call.comments + len(call.events) for call in calls]
        gap = 0.0
        for _ in range(4):
            began = time.monotonic()
            until(lambda c=counts: all(x.comments + len(x.events) > n for x, n in zip(calls, c)), 12, "signs of life")
            gap = max(gap, time.monotonic() - began)
            counts = [call.comments + len(call.events) for call in calls]
        expect(gap < 4, f"{gap:.1f} s without a sign of life, heartbeat 1 s")
        began = time.monotonic()
        broker.process.terminate()
        code = broker.process.wait(90)
        took = time.monotonic() - began
        day.recovered.append(("drained", took))
        expect(took < 9, f"SIGTERM took {took:.1f} s, shutdown_grace is 4 s")
        equal(code, 0, "exit code")
        broker.process = None
    for call in calls:
        equal(code_of(call.result(5)), "approval_pending", "handed over")


def left_over(day):
    """Requests that end while the store is away leave nothing behind."""
    relay = day.relay() if day.postgres else None
    agents = [{"name": "agent", "token": AGENT}]
    broker = day.broker(through=relay, agents=agents, approvals={"max_held_per_agent": 20})
    broker.start()
    calls = [broker.mcp("slow").begin_call("work", {"id": f"left {n}"}) for n in range(20)]
    until(lambda: len(broker.approvals(state="pending")) == 20, 30, "20 are held")
    ids = [a["id"] for a in broker.approvals(state="pending")]
    with day.store_away(relay):
        for call in calls:
            call.abandon()
        time.sleep(25)
    with day.timed("nothing is held", 30):
        ready(broker)
        until(lambda: day.sql("select count(*) from holds") == "0", 30, "no hold is left")
    for id in ids:
        expect(not broker.approval(id)["waiting"], "waiting")
    call, id = broker.mcp("slow").held("work", {"id": "after"})
    time.sleep(1)
    expect(call.is_alive(), "a call afterwards is held")
    broker.decide(id)
    equal(text_of(call.result(20)), "did work after", "the answer afterwards")


def serializable(day):
    name = day.database.rsplit("/", 1)[1]
    day.sql(f"alter database {name} set default_transaction_isolation = serializable")
    brokers = [day.broker(n).start() for n in "ab"]
    calls = [(brokers[n % 2].mcp("slow").begin_call("work", {"id": f"serial {n}"}), n) for n in range(60)]
    until(lambda: len(brokers[0].approvals(state="pending")) == 60, 30, "60 are pending")
    for approval in brokers[0].approvals(state="pending"):
        brokers[1].decide(approval["id"])
    for call, n in calls:
        equal(text_of(call.result(60)), f"did work serial {n}", "the answer")
        equal(day.upstream.started(f"serial {n}"), 1, "executions")


def crashes(day):
    """PostgreSQL loses all its sessions at once, again and again."""
    broker = day.broker().start()
    name = day.database.rsplit("/", 1)[1]
    rounds = 10 if os.environ.get("PLACET_REAL_SLOW") else 4
    for n in range(rounds):
        call = broker.mcp("slow").begin_call("work", {"id": f"crash {n}"})
        id = broker.pending({"id": f"crash {n}"})["id"]
        day.sql(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity "
            f"where datname = '{name}' and pid <> pg_backend_pid()"
        )
        reply = broker.api("POST", f"/approvals/{id}/decision", {"decision": "approve", "reason": "so"})
        if reply.status != 200:
            broker.state(id, "pending")
            broker.decide(id)
        equal(text_of(call.result(40)), f"did work crash {n}", "the answer")
        equal(day.upstream.started(f"crash {n}"), 1, "executions")
    ready(broker)


CASES = [
    Case("a disk that was full is full no longer without a restart", full_disk, SQLITE, seconds=40),
    Case("a submission whose commit's answer is lost is held", lost_submission, POSTGRES, seconds=15),
    Case("a decision whose commit's answer is lost counts, and says so", lost_decision, POSTGRES, seconds=15),
    Case("a claim whose commit's answer is lost is true again within 30 s", lost_claim, POSTGRES, seconds=60),
    Case("a broker cut off inside a submission does not stop the other", held_lock, POSTGRES, seconds=50),
    Case("a network that goes silent is said, and comes back", silent, POSTGRES, seconds=60),
    Case("while the store is away nobody waits for it", away, BOTH, seconds=30),
    Case("what ends while the store is away leaves nothing", left_over, BOTH, seconds=45),
    Case("serializable by default refuses nobody", serializable, POSTGRES, seconds=15),
    Case("sessions that the database ends are not noticed by people", crashes, POSTGRES, seconds=15),
]
