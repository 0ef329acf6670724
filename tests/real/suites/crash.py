"""kill -9 at each point of a gated call's life, on both databases: after the next start every
approval is in a true state, nothing is lost, nothing runs twice."""

import contextlib
import os
import re
import subprocess
import time

from harness import (
    ADMIN, Placet, Stage, code_of, decision_of, equal, expect, setting, text_of,
)  # fmt: skip

POLICY = {
    "version": "1",
    "tools": {"work": {"action": "require_approval"}, "peek": {"action": "allow"}, "free": {"action": "allow"}},
}


@contextlib.contextmanager
def postgres_database(name):
    """The URL of a fresh database on the tests' own server."""
    server = setting("PLACET_TEST_POSTGRES")
    psql = f"{setting('PLACET_REAL_POSTGRES_BIN')}/psql"

    def sql(text):
        subprocess.run([psql, "-qX", server, "-c", text], check=True, capture_output=True, text=True)

    sql(f'drop database if exists "{name}" with (force)')
    sql(f'create database "{name}"')
    try:
        yield server.rsplit("/", 1)[0] + f"/{name}"
    finally:
        sql(f'drop database if exists "{name}" with (force)')


def no_postgres(report):
    """Whether PostgreSQL is to be left out, said as a skip."""
    if os.environ.get("PLACET_REAL_NO_POSTGRES"):
        report.skip("on PostgreSQL", "PLACET_REAL_NO_POSTGRES is set")
        return True
    return False


def run(report):
    with Stage(report) as stage:
        cases(report, stage, "SQLite", None)
    if not no_postgres(report):
        with postgres_database("placet_crash") as url, Stage(report) as stage:
            cases(report, stage, "PostgreSQL", url)


def cases(report, stage, name, database):
    upstream = stage.slow_upstream()
    broker = Placet(stage, [{"name": "slow", "url": upstream.url, "policy": POLICY}], database=database).start()

    def held(id, seconds=0, era="modern"):
        arguments = {"id": id, "seconds": seconds}
        call, approval = broker.mcp("slow", era=era).held("work", arguments)
        return call, arguments, approval

    for era in ("modern", "legacy"):
        with report.case(f"{name}, {era}: killed while pending, it can still be decided, and runs once"):
            call, arguments, id = held(f"pending-{era}", era=era)
            broker.kill9()
            call.broken()
            broker.start()
            equal(broker.approval(id)["state"], "pending", "state after the restart")
            broker.not_waiting(id, 20)
            broker.decide(id)
            broker.state(id, "approved")
            equal(upstream.started(f"pending-{era}"), 0, "executions with nobody waiting")
            answer = broker.mcp("slow", era=era).call("work", arguments)
            equal((text_of(answer), code_of(answer)), (f"did work pending-{era}", "approved"), "the answer")
            broker.state(id, "completed")
            equal(upstream.started(f"pending-{era}"), 1, "executions")

    with report.case(f"{name}: killed while pending, the agent is back at once, decided, one execution"):
        call, arguments, id = held("back")
        broker.kill9()
        broker.start()
        again = broker.mcp("slow").begin_call("work", arguments)
        broker.waiting(id)
        equal([a["id"] for a in broker.approvals(state="pending")], [id], "pending approvals")
        broker.decide(id)
        equal(text_of(again.result()), "did work back", "the answer")
        equal(upstream.started("back"), 1, "executions")

    with report.case(f"{name}: killed while approved and unclaimed, it waits for its agent and runs once"):
        call, arguments, id = held("approved")
        call.abandon()
        broker.not_waiting(id)
        broker.decide(id)
        broker.state(id, "approved")
        broker.kill9()
        broker.start()
        equal(broker.approval(id)["state"], "approved", "state after the restart")
        time.sleep(3)
        equal(upstream.started("approved"), 0, "executions with nobody waiting")
        answer = broker.mcp("slow").call("work", arguments)
        equal((text_of(answer), decision_of(answer)["approval"]), ("did work approved", id), "the answer")
        equal(upstream.started("approved"), 1, "executions")

    with report.case(f"{name}: killed while running, nobody knows: indeterminate within 30 s, never sent again"):
        call, arguments, id = held("running", seconds=4)
        broker.decide(id)
        broker.state(id, "running")
        upstream.begins("running")
        broker.kill9()
        call.broken()
        broker.start()
        broker.state(id, "indeterminate", 30)
        answer = broker.mcp("slow").call("work", arguments)
        equal((answer["result"]["isError"], code_of(answer)), (True, "outcome_unknown"), "the answer")
        time.sleep(4)
        equal((upstream.started("running"), upstream.finished("running")), (1, 1), "executions begun, ended")

    with report.case(f"{name}: an admin settles it, the agent is told once, then it may be asked anew"):
        broker.api("POST", f"/approvals/{id}/settle", {"done": True, "reason": "seen"}, token=None, status=401)
        broker.api("POST", f"/approvals/{id}/settle", {"done": True, "reason": "seen"}, status=403)
        broker.api("POST", f"/approvals/{id}/settle", {"done": True, "reason": "It ran."}, token=ADMIN, status=200)
        again = broker.api("POST", f"/approvals/{id}/settle", {"done": False, "reason": "no"}, token=ADMIN, status=409)
        equal(again.json()["code"], "already_settled", "code")
        answer = broker.mcp("slow").call("work", arguments)
        equal(code_of(answer), "outcome_settled", "the answer")
        expect("It ran." in text_of(answer), text_of(answer))
        anew = broker.mcp("slow").begin_call("work", arguments)
        second = broker.pending(arguments)["id"]
        expect(second != id, "a new approval")
        broker.decide(second, "reject")
        anew.result()
        equal(upstream.started("running"), 1, "executions")

    with report.case(f"{name}: killed right after the outcome, the answer is kept for the agent"):
        call, arguments, id = held("owed", seconds=3)
        broker.decide(id)
        broker.state(id, "running")
        call.abandon()
        broker.state(id, "completed")
        broker.kill9()
        broker.start()
        answer = broker.mcp("slow").call("work", arguments)
        equal(text_of(answer), "did work owed", "the answer")
        equal(decision_of(answer).get("replayed"), True, "replayed")
        equal(upstream.started("owed"), 1, "executions")

    with report.case(f"{name}: killed ten times at changing moments, at most one execution each"):
        for round in range(10):
            kill_at(broker, upstream, f"round-{round}", round * 0.01, held)

    with report.case(f"{name}: SIGTERM hands held calls over, lets a running one end, and exits 0"):
        call, arguments, id = held("term")
        running, _, other = held("term-running", seconds=3)
        broker.decide(other)
        broker.state(other, "running")
        equal(broker.stop(), 0, "exit code")
        equal(code_of(call.result()), "approval_pending", "the held call")
        expect("Not executed" in text_of(call.result()), text_of(call.result()))
        equal(text_of(running.result()), "did work term-running", "the running call")
        broker.start()
        equal(broker.approval(id)["state"], "pending", "state of the held one")
        equal(broker.approval(other)["state"], "completed", "state of the running one")
        broker.decide(id, "reject")
        equal(code_of(broker.mcp("slow").call("work", arguments)), "approval_rejected", "the owed answer")
        equal(upstream.started("term"), 0, "executions")

    with report.case(f"{name}: the audit chain is whole after all that"):
        equal(broker.stop(), 0, "exit code")
        done = broker.command("audit", "verify")
        equal(done.returncode, 0, f"exit code ({done.stdout[-200:]}{done.stderr[-200:]})")
        expect(re.search(r"^ok: [1-9][0-9]* records, head \S+", done.stdout, re.M), done.stdout[-200:])


def kill_at(broker, upstream, word, seconds, held):
    """Approves a held call and kills the broker `seconds` later, wherever the call then is."""
    call, arguments, id = held(word)
    broker.decide(id)
    time.sleep(seconds)
    broker.kill9()
    call.broken()
    broker.start()
    state = broker.state(id, {"approved", "completed", "indeterminate"}, 30)["state"]
    if call.answer is not None:  # told in time: nothing is owed
        equal((state, upstream.started(word)), ("completed", 1), "state, executions")
        return
    again = broker.mcp("slow").begin_call("work", arguments)
    answer = again.result()
    ran = upstream.started(word)
    if state == "indeterminate":
        equal(code_of(answer), "outcome_unknown", "the answer")
        expect(ran <= 1, f"{ran} executions")
        settle = {"done": ran == 1, "reason": "counted"}
        broker.api("POST", f"/approvals/{id}/settle", settle, token=ADMIN, status=200)
    else:
        equal((text_of(answer), ran), (f"did work {word}", 1), f"{state}: the answer, executions")
