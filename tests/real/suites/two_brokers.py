"""Two brokers on one PostgreSQL serve one queue."""

import concurrent.futures

from harness import (
    ADMIN, ANA, Placet, Stage, code_of, decision_of, equal, expect, text_of,
)  # fmt: skip
from suites.crash import POLICY, no_postgres, postgres_database


def run(report):
    if no_postgres(report):
        return
    with postgres_database("placet_two") as url, Stage(report) as stage:
        upstream = stage.slow_upstream()

        def broker(name):
            config = {"name": "slow", "url": upstream.url, "policy": POLICY}
            return Placet(stage, [config], name=name, database=url).start()

        a, b = broker("a"), broker("b")

        def held(on, id, seconds=0):
            arguments = {"id": id, "seconds": seconds}
            call, approval = on.mcp("slow").held("work", arguments)
            return call, arguments, approval

        for decision, code in (("approve", "approved"), ("reject", "approval_rejected")):
            with report.case(f"held on one, {decision} on the other, answered on the first"):
                call, _, id = held(a, decision)
                equal(b.approval(id)["state"], "pending", "state seen by the other")
                b.decide(id, decision)
                answer = call.result(15)
                equal(code_of(answer), code, "the answer")
                equal(upstream.started(decision), int(decision == "approve"), "executions")

        with report.case("identical calls on both: one approval, one execution, both answered"):
            first, arguments, id = held(a, "both")
            second = b.mcp("slow").begin_call("work", arguments)
            b.pending(arguments)
            equal(len(a.approvals(state="pending")), 1, "pending approvals")
            a.decide(id)
            answers = [first.result(20), second.result(20)]
            for answer in answers:
                equal(text_of(answer), "did work both", "the answer")
                equal(decision_of(answer)["approval"], id, "the approval")
            equal(upstream.started("both"), 1, "executions")

        with report.case("two reviewers at once on both: one decision, the other is told"):
            for round in range(5):
                call, _, id = held(a, f"race-{round}")
                body = {"decision": "reject", "reason": "no"}
                with concurrent.futures.ThreadPoolExecutor(2) as pool:
                    tries = [
                        pool.submit(a.api, "POST", f"/approvals/{id}/decision", {"decision": "approve"}, ANA),
                        pool.submit(b.api, "POST", f"/approvals/{id}/decision", body, ADMIN),
                    ]
                    replies = [t.result() for t in tries]
                equal(sorted(r.status for r in replies), [200, 409], "statuses")
                loser = next(r for r in replies if r.status == 409).json()
                equal(loser["code"], "already_decided", "code")
                expect(loser["approval"]["decisions"], "the loser is told what was decided")
                call.result(15)
                ran = upstream.started(f"race-{round}")
                equal(ran, int(replies[0].status == 200), "executions")

        with report.case("one is killed while running: the other makes it indeterminate"):
            call, arguments, id = held(a, "dead", seconds=3)
            b.decide(id)
            a.state(id, "running")
            upstream.begins("dead")
            a.kill9()
            b.state(id, "indeterminate", 30)
            equal(code_of(b.mcp("slow").call("work", arguments)), "outcome_unknown", "the answer on the other")
            a.start()
            equal(upstream.started("dead"), 1, "executions")

        with report.case("one is killed while holding: the other resumes it"):
            call, arguments, id = held(a, "move")
            a.kill9()
            again = b.mcp("slow").begin_call("work", arguments)
            b.decide(id)
            equal(text_of(again.result(20)), "did work move", "the answer")
            equal(upstream.started("move"), 1, "executions")
            a.start()
