"""What a broker leans on fails: upstreams, the mail server, the store, its own configuration. Each
is answered as the contract says, and nothing runs twice or without people."""

import contextlib
import json
import socket
import sqlite3
import subprocess
import time

from harness import (
    AGENT, ANA, Placet, Stage, binary, code_of, decision_of, equal, expect, free_port, setting, text_of, toml, until,
)  # fmt: skip
from suites.crash import no_postgres, postgres_database
from suites.mail import mail_notifier

POLICY = {
    "version": "1",
    "tools": {"work": {"action": "require_approval"}, "peek": {"action": "allow"}},
}


def run(report):
    for part in (upstreams_that_fail, mail_that_fails, store_that_fails, configurations):
        with Stage(report) as stage:
            part(report, stage)


def upstreams_that_fail(report, stage):
    upstream = stage.slow_upstream()
    env = stage.upstream_env()
    broken = {
        "closed": {"url": f"http://127.0.0.1:{free_port()}/mcp"},
        "missing": {"command": ["/nonexistent/server"]},
        "ends": {"command": ["false"], "env": env},
        "silent": {"command": ["sleep", "600"], "env": env},
        "chatty": {"command": ["sh", "-c", "echo not json; echo '{\"id\":'; exec sleep 600"], "env": env},
    }
    configs = [{"name": n, "policy": POLICY, **c} for n, c in broken.items()]
    configs.append({"name": "slow", "url": upstream.url, "policy": POLICY, "timeout": "3s"})
    broker = Placet(stage, configs).start(tools=["slow"])

    for name in broken:
        with report.case(f"an upstream that is {name}: upstream_unavailable, nothing queued"):
            for tool in ("work", "peek"):
                answer = broker.mcp(name).call(tool, {"id": name}, timeout=5)
                equal(code_of(answer), "upstream_unavailable", f"the answer ({answer})")
                equal(decision_of(answer)["retryable"], True, "retryable")
                expect("not executed" in text_of(answer).lower(), text_of(answer))
            equal(broker.approvals(state="pending", upstream=name), [], "pending")
            if name not in ("silent", "chatty"):  # those get a minute to shake hands
                answer = broker.mcp(name).begin("tools/list").result(45)
                equal(answer.get("error", {}).get("code"), -32603, f"tools/list ({answer})")

    def approved(id):
        arguments = {"id": id}
        call = broker.mcp("slow").begin_call("work", arguments)
        broker.decide(broker.pending(arguments)["id"])
        return call.result(), arguments, broker.approvals(limit=1)[0]["id"]

    for mode in ("garbage", "die", "hang"):
        with report.case(f"an upstream that takes an approved call and then {mode}s: indeterminate, never again"):
            upstream.mode(mode)
            answer, arguments, id = approved(mode)
            equal((answer["result"]["isError"], code_of(answer)), (True, "outcome_unknown"), "the answer")
            broker.state(id, "indeterminate")
            upstream.mode("")
            equal(code_of(broker.mcp("slow").call("work", arguments)), "outcome_unknown", "the identical call")
            equal(upstream.started(mode), 1, "executions")

    with report.case("an upstream that refuses with 429: approved still, run once when it is back"):
        upstream.mode("refuse")
        answer, arguments, id = approved("refuse")
        equal(code_of(answer), "upstream_unavailable", "the answer")
        broker.state(id, "approved")
        upstream.mode("")
        answer = broker.mcp("slow").call("work", arguments)
        equal((text_of(answer), decision_of(answer)["approval"]), ("did work refuse", id), "the answer")
        equal(upstream.started("refuse"), 1, "executions")

    with report.case("an upstream's JSON-RPC error passes unchanged and completes the approval"):
        upstream.mode("error")
        answer, _, id = approved("error")
        equal(answer["error"]["code"], -32099, f"the answer ({answer})")
        equal(answer["error"]["message"], "no such thing", "its words")
        upstream.mode("")
        equal(broker.state(id, "completed")["outcome"]["error"]["code"], -32099, "the outcome")

    with report.case("an upstream gone between the approval and the call: approved still, run once when it is back"):
        arguments = {"id": "gone"}
        call = broker.mcp("slow").begin_call("work", arguments)
        id = broker.pending(arguments)["id"]
        upstream.stop()
        broker.decide(id)
        equal(code_of(call.result()), "upstream_unavailable", "the answer")
        broker.state(id, "approved")
        upstream.start()
        answer = broker.mcp("slow").call("work", arguments)
        equal((text_of(answer), decision_of(answer)["approval"]), ("did work gone", id), "the answer")
        equal(upstream.started("gone"), 1, "executions")

    with report.case("the broker stands after all that"):
        equal(broker.http("GET", "/healthz").status, 200, "health")
        equal(text_of(broker.mcp("slow").call("peek", {"id": "still"})), "did peek still", "an allowed call")


def mail_that_fails(report, stage):
    upstream, refusing = stage.slow_upstream(), stage.mail_sink(refuse=True)
    with socket.socket() as deaf:  # accepts, never speaks
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(50)
        urls = {
            "down": f"smtp://127.0.0.1:{free_port()}",
            "refusing": f"smtp://127.0.0.1:{refusing.port}",
            "deaf": f"smtp://127.0.0.1:{deaf.getsockname()[1]}",
        }
        for name, url in urls.items():
            with report.case(f"a mail server that is {name}: the call is held and decided all the same"):
                broker = Placet(
                    stage,
                    [{"name": "slow", "url": upstream.url, "policy": POLICY}],
                    name=name,
                    notifiers=[mail_notifier(None, url), {
                        "name": "ops", "kind": "webhook", "url": f"http://127.0.0.1:{free_port()}/",
                        "secret": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "allow_private_network": True,
                    }],
                ).start()  # fmt: skip
                call = broker.mcp("slow").begin_call("work", {"id": name})
                id = broker.pending({"id": name})["id"]
                time.sleep(2)
                equal(broker.http("GET", "/readyz").status, 200, "readyz")
                broker.decide(id)
                equal(text_of(call.result()), f"did work {name}", "the answer")
                equal(broker.stop(), 0, "exit code")


def store_that_fails(report, stage):
    upstream = stage.slow_upstream()
    config = {"name": "slow", "url": upstream.url, "policy": POLICY}

    def gated_while(broker, broken, name):
        with report.case(f"{name}: gated calls are unavailable, allowed ones go on, nothing is queued"):
            mcp = broker.mcp("slow")
            equal(text_of(mcp.call("peek", {"id": "before"})), "did peek before", "an allowed call before")
            with broken():
                answer = mcp.call("work", {"id": name}, timeout=60)
                equal(code_of(answer), "unavailable", f"the answer ({answer})")
                equal(decision_of(answer)["retryable"], True, "retryable")
                equal(text_of(mcp.call("peek", {"id": "while"})), "did peek while", "an allowed call")
                equal(broker.http("GET", "/healthz").status, 200, "health")
            until(lambda: broker.http("GET", "/readyz").status == 200, 30, "ready again")
            equal(broker.approvals(state="pending"), [], "pending")
            call = mcp.begin_call("work", {"id": name})
            broker.decide(broker.pending({"id": name})["id"])
            equal(text_of(call.result()), f"did work {name}", "the answer afterwards")
            equal(upstream.started(name), 1, "executions")

    sqlite = Placet(stage, [dict(config)], name="sqlite").start()

    @contextlib.contextmanager
    def locked():
        db = sqlite3.connect(sqlite.dir / "sqlite.db", isolation_level=None, timeout=30)
        try:
            db.execute("begin immediate")
            yield
            db.execute("rollback")
        finally:
            db.close()

    gated_while(sqlite, locked, "SQLite locked by somebody else")
    with report.case("the database file is its owner's alone"):
        for file in sqlite.dir.glob("sqlite.db*"):
            equal(oct(file.stat().st_mode & 0o777), "0o600", file.name)

    if no_postgres(report):
        return
    with postgres_database("placet_readonly") as url:
        broker = Placet(stage, [dict(config)], name="postgres", database=url).start()

        def sql(text):
            psql = f"{setting('PLACET_REAL_POSTGRES_BIN')}/psql"
            server = setting("PLACET_TEST_POSTGRES")
            subprocess.run([psql, "-qX", server, "-c", text], check=True, capture_output=True, text=True)

        end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'placet_readonly'"

        @contextlib.contextmanager
        def read_only():
            sql("alter database placet_readonly set default_transaction_read_only = on")
            sql(end)
            try:
                yield
            finally:
                sql("alter database placet_readonly reset default_transaction_read_only")
                sql(end)

        gated_while(broker, read_only, "PostgreSQL read-only")
        broker.stop()


def configurations(report, stage):
    def command(name, text, verb="check"):
        file = stage.dir / f"{name}.toml"
        file.write_text(text)
        return subprocess.run([binary(), verb, "--config", file], capture_output=True, text=True, timeout=30)

    good = {"server": {"listen": f"127.0.0.1:{free_port()}"}, "agents": [{"name": "a", "token": AGENT}],
            "reviewers": [{"name": "ana", "token": ANA}]}  # fmt: skip

    with report.case("a good configuration: exit 0"):
        done = command("good", toml(good))
        equal(done.returncode, 0, f"exit code ({done.stderr[-400:]})")

    for name, change, words in (
        ("unknown key", {"approvals": {"timeot": "5m"}}, ["approvals.timeot", "timeout"]),
        ("bad duration", {"approvals": {"timeout": "soon"}}, ["approvals.timeout", "soon"]),
        ("short token", {"agents": [{"name": "a", "token": "short"}]}, ["agents", "20"]),
        ("equal tokens", {"agents": [{"name": "a", "token": ANA}]}, ["token"]),
        ("open door", {"server": {"listen": "0.0.0.0:0"}, "agents": []}, ["agents"]),
        ("no file", {"upstreams": [{"name": "u", "url": "http://127.0.0.1:1/", "policy": "none.json"}]}, ["none.json"]),
        ("both", {"upstreams": [{"name": "u", "url": "http://127.0.0.1:1/", "command": ["x"]}]}, ["upstreams"]),
        ("unset variable", {"database": {"url": "sqlite:${PLACET_REAL_NOT_SET}"}}, ["PLACET_REAL_NOT_SET"]),
        ("two at once", {"approvals": {"timeot": "5m"}, "audit": {"calls": "loud"}}, ["timeot", "audit.calls"]),
    ):
        with report.case(f"configuration, {name}: exit 2, and the place is named"):
            merged = {k: v for k, v in {**good, **change}.items() if v != []}
            for verb in ("check", "serve"):
                done = command(name.replace(" ", "-"), toml(merged), verb)
                said = done.stdout + done.stderr
                equal(done.returncode, 2, f"exit code of {verb} ({said[-300:]})")
                for word in words:
                    expect(word in said, f"{verb} names {word!r}: {said[-500:]}")

    with report.case("a policy with errors: exit 2, all places named as pointers"):
        policy = {"version": "1", "tools": {"x": {"action": "alow"}, "y": {"actoin": "allow"}}}
        (stage.dir / "p.json").write_text(json.dumps(policy))
        upstream = {"name": "u", "url": "http://127.0.0.1:1/", "policy": "p.json"}
        done = command("policy", toml(good | {"upstreams": [upstream]}))
        said = done.stdout + done.stderr
        equal(done.returncode, 2, f"exit code ({said[-300:]})")
        for word in ("/tools/x/action", "allow", "/tools/y/actoin", "action"):
            expect(word in said, f"{word!r} is named: {said[-500:]}")

    with report.case("a file that is not there, and one that is no TOML: exit 2"):
        for argv in (["--config", str(stage.dir / "none.toml")], ["--config", str(stage.dir / "p.json")]):
            done = subprocess.run([binary(), "check", *argv], capture_output=True, text=True, timeout=30)
            equal(done.returncode, 2, f"exit code ({done.stderr[-300:]})")
            expect(argv[1] in done.stdout + done.stderr, f"the file is named: {done.stderr[-300:]}")

    with report.case("a port that is taken: the start fails and names it"):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            address = f"127.0.0.1:{s.getsockname()[1]}"
            done = command("taken", toml(good | {"server": {"listen": address}}), "serve")
        expect(done.returncode in (1, 2), f"exit code {done.returncode}")
        expect(address in done.stderr + done.stdout, f"the address is named: {done.stderr[-300:]}")
