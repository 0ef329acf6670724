"""Limits that last: 64 calls at once, a restart, kill -9 between reserve and outcome, on both databases;
two brokers on PostgreSQL. Never over the cap, never lost."""

import contextlib
import json
import time

from harness import Placet, Stage, code_of, decision_of, equal, expect, text_of, until
from suites.crash import no_postgres, postgres_database

PLACE = "/tools/{}/limits/0"


def limited(**limit):
    return {"action": "allow", "limits": [limit]}


def run(report):
    with Stage(report) as stage:
        cases(report, stage, "SQLite", None)
        windows(report, stage)
    if not no_postgres(report):
        with postgres_database("placet_counters") as url, Stage(report) as stage:
            cases(report, stage, "PostgreSQL", url)
        with postgres_database("placet_counters_two") as url, Stage(report) as stage:
            two(report, stage, url)


def policy():
    return {
        "version": "1",
        "tools": {
            # Spent: three tools, one purse.
            "peek": limited(counter="purse", per="1h", sum_of="args.amount", max=4.1),
            "free": limited(count_of="args.ids", max=25, per="1h"),
            "brief": limited(per="6s", max=2, on_deny="Take your time."),
            "work": {
                "action": "require_approval",
                "limits": [{"max": 2, "per": "day", "scope": "upstream"}],
                "approval": {"cooldown": "0s"},
            },
        },
    }


def used(broker, tool):
    rows = broker.api("GET", "/upstreams/slow/limits", status=200).json()["limits"]
    return next((u["used"] for row in rows if row["rule"] == PLACE.format(tool) for u in row["used"]), "0")


def at_once(brokers, tool, arguments):
    """The codes of so many calls at once, in turn on each broker; None where it ran."""
    sessions = [broker.mcp("slow") for broker in brokers]
    calls = [sessions[i % len(sessions)].begin_call(tool, a) for i, a in enumerate(arguments)]
    answers = [call.result(60) for call in calls]
    return [None if text_of(a).startswith("did ") else code_of(a) for a in answers]


def cases(report, stage, name, database):
    upstream = stage.slow_upstream()
    broker = Placet(stage, [{"name": "slow", "url": upstream.url, "policy": policy()}], database=database).start()
    agent = broker.mcp("slow")

    with report.case(f"{name}: of 64 calls at once so many pass as the purse pays for, to the cent"):
        codes = at_once([broker], "peek", [{"id": str(i), "amount": 0.1} for i in range(64)])
        equal((codes.count(None), codes.count("rate_limited")), (41, 23), "passed and refused")
        equal(used(broker, "peek"), "4.1", "used")

    with report.case(f"{name}: who is refused is told the limit, what is used and when it is free"):
        answer = agent.call("peek", {"amount": 0.01})
        decision = decision_of(answer)
        equal((decision["rule"], decision["retryable"]), (PLACE.format("peek"), True), "the decision")
        expect(3_500_000 < decision["retry_after_ms"] <= 3_660_000, decision["retry_after_ms"])
        expect("4.1 of at most 4.1" in text_of(answer), text_of(answer))

    with report.case(f"{name}: a restart forgets nothing"):
        broker.stop()
        broker.start()
        equal(code_of(broker.mcp("slow").call("peek", {"amount": 0.01})), "rate_limited", "after the restart")
        agent = broker.mcp("slow")

    with report.case(f"{name}: an amount that is negative, missing or no number is refused and refills nothing"):
        for amount in ({"amount": -1_000_000}, {}, {"amount": "0.01"}, {"amount": 1e-13}):
            answer = agent.call("peek", amount)
            equal((code_of(answer), decision_of(answer)["retryable"]), ("policy_denied", False), str(amount))
        equal(used(broker, "peek"), "4.1", "used")

    with report.case(f"{name}: one call and one hour touch 25 things at most"):
        ids = lambda n: {"ids": list(range(n))}  # noqa: E731
        over = agent.call("free", ids(26))
        equal((code_of(over), decision_of(over)["rule"]), ("policy_denied", PLACE.format("free")), "26 at once")
        expect("Waiting does not help" in text_of(over), text_of(over))
        expect(text_of(agent.call("free", ids(20))).startswith("did"), "20")
        equal(code_of(agent.call("free", ids(6))), "rate_limited", "6 more")
        expect(text_of(agent.call("free", ids(5))).startswith("did"), "5 more")
        equal(code_of(agent.call("free", {})), "policy_denied", "who knows how many")

    with report.case(f"{name}: a call that failed at its server gives back what it took"):
        upstream.mode("error")
        for _ in range(3):
            expect("error" in agent.call("brief", {"id": "failing"}), "the server's error")
        upstream.mode("")
        equal(used(broker, "brief"), "0", "used")

    with report.case(f"{name}: killed between reserve and outcome, it counts, and the window empties it"):
        began = [agent.begin_call("brief", {"id": f"killed-{i}", "seconds": 30}) for i in range(2)]
        for i in range(2):
            upstream.begins(f"killed-{i}")
        broker.kill9()
        for call in began:
            call.broken()
        broker.start()
        agent = broker.mcp("slow")
        answer = agent.call("brief", {"id": "early"})
        decision = decision_of(answer)
        equal((code_of(answer), decision["reason"]), ("rate_limited", "Take your time."), "after the kill")
        time.sleep(decision["retry_after_ms"] / 1000)
        expect(text_of(agent.call("brief", {"id": "later"})).startswith("did"), "when the window is empty")
        equal((upstream.started("early"), upstream.started("later")), (0, 1), "executions")

    with report.case(f"{name}: what waits for approval has its place, and gives it back when rejected"):
        first, id = agent.held("work", {"id": "first"})
        second, other = agent.held("work", {"id": "second"})
        third = agent.call("work", {"id": "third"})
        equal((code_of(third), decision_of(third)["rule"]), ("rate_limited", PLACE.format("work")), "the third")
        broker.decide(other, "reject")
        equal(code_of(second.result()), "approval_rejected", "the second")
        third, id3 = agent.held("work", {"id": "third"})
        broker.kill9()
        broker.start()
        agent = broker.mcp("slow")
        equal(used(broker, "work"), "2", "after kill -9")
        again = agent.begin_call("work", {"id": "third"})
        broker.waiting(id3)
        broker.decide(id3)
        equal(text_of(again.result()), "did work third", "the third")
        equal(code_of(agent.call("work", {"id": "fourth"})), "rate_limited", "the fourth")
        equal(used(broker, "work"), "2", "used")

    with report.case(f"{name}: explain says what is used, and what this call counts"):
        explain = ("policy", "explain", "--upstream", "slow", "--tool", "free", "--args", '{"ids":[1,2]}')
        told = broker.command(*explain).stdout
        expect("this call counts 2" in told and "25 of at most 25" in told, told)
        limits = json.loads(broker.command(*explain, "--json").stdout)["limits"]
        equal(limits, [{"rule": PLACE.format("free"), "used": "25", "max": "25"}], "limits")


def windows(report, stage):
    upstream = stage.slow_upstream()
    rules = {
        "peek": limited(window="minute", counter="pace", scope="grant", max=2),
        "free": limited(per="1h", scope="session", max=2),
        "brief": {"action": "allow", "rate_limit": {"max": 2, "window": 60, "per": "agent"}},
    }
    served = {"name": "slow", "url": upstream.url, "policy": {"version": "1", "tools": rules}}
    broker = Placet(stage, [served], name="windows")

    with report.case("explain makes no database where there is none"):
        told = broker.command("policy", "explain", "--upstream", "slow", "--tool", "peek").stdout
        expect("not known: there is no database yet" in told, told)
        expect(not list(broker.dir.glob("windows.db*")), "a database was made")

    broker.start()
    broker.api("GET", "/upstreams/none/limits", status=404)

    with report.case("a minute of the calendar ends at its stroke"):
        while time.time() % 60 > 50:
            time.sleep(1)
        agent = broker.mcp("slow")
        expect(all(text_of(agent.call("peek", {})).startswith("did") for _ in range(2)), "two a minute")
        refused = decision_of(agent.call("peek", {}))
        stroke = time.time() + refused["retry_after_ms"] / 1000
        expect(min(stroke % 60, 60 - stroke % 60) < 1, f"{stroke % 60} s after the minute")
        time.sleep(refused["retry_after_ms"] / 1000)
        expect(text_of(agent.call("peek", {})).startswith("did"), "in the next minute")

    with report.case("each session has its own count, and a new one begins with what was used"):
        old, used_up = broker.mcp("slow", era="legacy"), broker.mcp("slow", era="legacy")
        for agent in (old, used_up):
            expect(text_of(agent.call("free", {})).startswith("did"), "the first of each")
        equal(text_of(used_up.call("free", {})), "did free None", "the second of one")
        equal(code_of(used_up.call("free", {})), "rate_limited", "its third")
        time.sleep(1)
        equal(code_of(broker.mcp("slow", era="legacy").call("free", {})), "rate_limited", "a new session")
        equal(text_of(old.call("free", {})), "did free None", "the other's second")

    with report.case("a rate limit survives a restart, too"):
        for _ in range(2):
            expect(text_of(broker.mcp("slow").call("brief", {})).startswith("did"), "within it")
        broker.kill9()
        broker.start()
        equal(code_of(broker.mcp("slow").call("brief", {})), "rate_limited", "after kill -9")


def two(report, stage, url):
    upstream = stage.slow_upstream()

    def broker(name):
        config = {"name": "slow", "url": upstream.url, "policy": policy()}
        return Placet(stage, [config], name=name, database=url).start()

    a, b = broker("a"), broker("b")

    with report.case("two brokers: of 64 calls at once on both so many pass as the purse pays for"):
        codes = at_once([a, b], "peek", [{"id": str(i), "amount": 0.1} for i in range(64)])
        equal((codes.count(None), codes.count("rate_limited")), (41, 23), "passed and refused")
        equal((used(a, "peek"), used(b, "peek")), ("4.1", "4.1"), "used, seen by each")

    with report.case("two brokers: what one took when it was killed counts at the other"):
        calls = [a.mcp("slow").begin_call("brief", {"id": f"two-{i}", "seconds": 30}) for i in range(2)]
        for i in range(2):
            upstream.begins(f"two-{i}")
        a.kill9()
        for call in calls:
            with contextlib.suppress(Exception):
                call.broken()
        equal(code_of(b.mcp("slow").call("brief", {"id": "other"})), "rate_limited", "on the other")
        until(lambda: used(b, "brief") == "0", 15, "the window empties it")
        expect(text_of(b.mcp("slow").call("brief", {"id": "other"})).startswith("did"), "then")

    with report.case("two brokers: many approvals at once never pass the cap"):
        a.start()
        agents = [a.mcp("slow"), b.mcp("slow")]
        calls = [agents[i % 2].begin_call("work", {"id": f"many-{i}"}) for i in range(16)]
        until(lambda: len(a.approvals(state="pending")) == 2, 15, "two wait")
        pending = a.approvals(state="pending")
        for approval in pending:
            b.decide(approval["id"])
        codes = [code_of(call.result(30)) for call in calls]
        equal((codes.count("approved"), codes.count("rate_limited")), (2, 14), "approved and refused")
        equal((used(a, "work"), len(upstream.lines("started"))), ("2", 5), "used, executions")
