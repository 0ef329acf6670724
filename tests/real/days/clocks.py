"""Clocks that differ, and clocks that are set. libfaketime lies to one process about the time of day."""

import glob
import time

from days.day import BOTH, Case, code_of, equal, expect, ready, status, text_of, until
from harness import ADMIN, ANA

POSTGRES, SQLITE = ("PostgreSQL",), ("SQLite",)


def lying(day, offset):
    """Environment of a process whose clock is `offset` wrong, and the file that says how wrong."""
    library = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    expect(library, "libfaketime is not installed (tests/provision/provision.sh)")
    file = day.dir / f"clock-{time.monotonic_ns()}"
    file.write_text(offset)
    return file, {
        "LD_PRELOAD": library[0], "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1",
    }  # fmt: skip


def ahead(day):
    """Another broker's clock is 12 s ahead: it ends nothing early."""
    right = day.broker("a", approvals={"timeout": "25s"}).start()
    running, id = right.mcp("slow").held("work", {"id": "ahead", "seconds": 8})
    _, env = lying(day, "+12s")
    wrong = day.broker("b", env=env, approvals={"timeout": "25s"}).start()
    began = time.monotonic()
    waits, pending = right.mcp("slow").held("work", {"id": "patient"})
    right.decide(id)
    equal(text_of(running.result(30)), "did work ahead", "the running call")
    equal(wrong.approval(id)["state"], "completed", "its state")
    until(lambda: time.monotonic() - began > 16, 20, "16 s are over")
    equal(right.approval(pending)["state"], "pending", "9 s before it expires")
    here, there = wrong.mcp("slow").held("work", {"id": "other side"})
    left = wrong.approval(there)
    right.decide(there)
    equal(text_of(here.result(20)), "did work other side", f"held by the wrong one, decided by the right one ({left})")
    answer = waits.result(40)
    took = time.monotonic() - began
    equal(code_of(answer), "approval_expired", "the answer")
    expect(24 < took < 31, f"it expired after {took:.1f} s, timeout 25 s")


def hour_ahead(day):
    """A broker an hour ahead is refused, or does no harm."""
    right = day.broker("a").start()
    call, id = right.mcp("slow").held("work", {"id": "hour"})
    _, env = lying(day, "+1h")
    wrong = day.broker("b", env=env)
    from harness import binary

    process = wrong.process = day.start([binary(), "serve", "--config", wrong.file], "b", env=env, cwd=wrong.dir)
    until(lambda: process.poll() is not None or status(wrong) == 200, 30, "it started or was refused")
    time.sleep(4)
    equal(right.approval(id)["state"], "pending", "the state of what is pending")
    if process.poll() is None:
        wrong.stop()
    else:
        wrong.process = None
        equal(process.returncode, 1, "exit code")
        expect("clock" in wrong.log_tail(), f"the reason is named: {wrong.log_tail()}")
    right.decide(id)
    equal(text_of(call.result(20)), "did work hour", "the answer")


def behind(day):
    """A broker 8 s behind tells its listeners what others decide."""
    import http.client

    _, env = lying(day, "-8s")
    right, wrong = day.broker("a").start(), day.broker("b", env=env).start()
    connection = http.client.HTTPConnection("127.0.0.1", wrong.port, timeout=20)
    connection.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {ANA}"})
    stream = connection.getresponse()
    call, id = right.mcp("slow").held("work", {"id": "behind"})
    right.decide(id, "reject")
    began = time.monotonic()
    for line in stream:
        if id.encode() in line and b'"rejected"' in line:
            break
        expect(time.monotonic() - began < 10, "the listener of the one behind hears of the decision")
    connection.close()
    equal(code_of(call.result(20)), "approval_rejected", "the answer")


def set_back(day):
    """The machine's clock is set back an hour: deadlines and deliveries go on."""
    hooks = day.webhooks()
    file, env = lying(day, "+0s")
    broker = day.broker(env=env, notifiers=[hooks.notifier()], approvals={"timeout": "8s"}).start()
    call, _ = broker.mcp("slow").held("work", {"id": "back"})
    began = time.monotonic()
    file.write_text("-1h")
    equal(code_of(call.result(30)), "approval_expired", "the answer")
    took = time.monotonic() - began
    expect(5 < took < 12, f"it expired after {took:.1f} s, timeout 8 s")
    hooks.of_type("approval.expired", 10)
    again, id = broker.mcp("slow").held("work", {"id": "after"})
    hooks.of_type("approval.requested", 10)
    broker.decide(id)
    equal(text_of(again.result(20)), "did work after", "a call afterwards")
    hooks.of_type("approval.completed", 10)
    ready(broker)


def killed_and_set_back(day):
    """Killed, and started with a clock that was set back: the dead process is known as dead in time."""
    file, env = lying(day, "+0s")
    broker = day.broker(env=env).start()
    call, running = broker.mcp("slow").held("work", {"id": "runs", "seconds": 30})
    broker.decide(running)
    until(lambda: day.upstream.started("runs"), 10, "it runs")
    held, waits = broker.mcp("slow").held("work", {"id": "waits"})
    broker.kill9()
    call.broken()
    held.broken()
    # PostgreSQL's clock rules, and a machine an hour behind it is refused.
    file.write_text("-45s" if day.postgres else "-1h")
    broker.start()
    began = time.monotonic()
    with day.timed("not waiting", 20):
        broker.not_waiting(waits, 20)
    broker.state(running, "indeterminate", 30)
    day.recovered.append(("indeterminate", time.monotonic() - began))
    broker.decide(waits)
    equal(text_of(broker.mcp("slow").call("work", {"id": "waits"})), "did work waits", "the answer")


def shown(day):
    """How far a clock is from the database's is shown."""
    _, env = lying(day, "+5s")
    broker = day.broker(env=env).start()
    text = broker.http("GET", "/metrics", headers={"Authorization": f"Bearer {ADMIN}"}).text
    lines = [line for line in text.splitlines() if line.startswith("placet_clock_skew_seconds ")]
    expect(lines and 4 < abs(float(lines[0].split()[1])) < 6.5, f"placet_clock_skew_seconds: {lines}")


CASES = [
    Case("a broker 12 s ahead ends nothing early", ahead, POSTGRES, seconds=45),
    Case("a broker an hour ahead does no harm", hour_ahead, POSTGRES, seconds=20),
    Case("a broker 8 s behind tells its listeners everything", behind, POSTGRES, seconds=10),
    Case("a clock set back an hour stops nothing", set_back, BOTH, seconds=25),
    Case("killed, and the clock set back: true in time", killed_and_set_back, BOTH, seconds=50),
    Case("the skew of a clock is shown", shown, POSTGRES, seconds=5),
]
