"""The commands a person types: the demo, the queue from a terminal, what explains and verifies."""

import json
import os
import signal
import sqlite3
import subprocess

from harness import (
    ADMIN, AGENT, ANA, Placet, Stage, binary, equal, expect, free_port, text_of, until,
)  # fmt: skip
from suites.crash import POLICY
from suites.mail import post_form, read_form


def run(report):
    demo(report)
    with Stage(report) as stage:
        terminal(report, stage)


def demo(report):
    for decision, word in (("approve", "delet"), ("reject", "approval_rejected")):
        with report.case(f"demo --decide {decision} answers by itself and ends with 0"):
            done = subprocess.run(
                [binary(), "demo", "--decide", decision, "--listen", f"127.0.0.1:{free_port()}"],
                capture_output=True, text=True, timeout=60, cwd="/", stdin=subprocess.DEVNULL,
            )  # fmt: skip
            equal(done.returncode, 0, f"exit code ({done.stderr[-300:]})")
            answers = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("answer:")]
            equal(len(answers), 1, "lines that begin with answer:")
            expect(word in answers[0].lower(), answers[0])

    with Stage(report) as stage, report.case("demo prints a link, and a person's form decides it"):
        port = free_port()
        process = stage.start([binary(), "demo", "--listen", f"127.0.0.1:{port}"], "demo", cwd=str(stage.dir))
        log = stage.dir / "demo.log"

        def link():
            words = log.read_text().split()
            return next((w for w in words if w.startswith(f"http://127.0.0.1:{port}/review/")), None)

        class Demo:
            """As much of a broker as the forms need."""

            url = f"http://127.0.0.1:{port}"
            http = Placet.http

        broker = Demo()
        broker.port = port
        path = "/review/" + until(link, 30, "a review link is printed").split("/review/")[1]
        expect(post_form(broker, path, read_form(broker, path), "approve").status in (200, 303), "the form")
        until(lambda: [x for x in log.read_text().splitlines() if x.startswith("answer:")], 20, "the answer is printed")
        process.send_signal(signal.SIGINT)
        equal(process.wait(20), 0, "exit code after Ctrl-C")


def terminal(report, stage):
    upstream = stage.slow_upstream()
    broker = Placet(stage, [{"name": "slow", "url": upstream.url, "policy": POLICY}]).start()
    mcp = broker.mcp("slow")

    def approvals(*args, token=ANA):
        return subprocess.run(
            [binary(), "approvals", *args, "--server", broker.url],
            capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, cwd="/",
            env={**os.environ, "PLACET_TOKEN": token},
        )  # fmt: skip

    with report.case("the terminal lists, shows and approves"):
        call = mcp.begin_call("work", {"id": "cli"})
        id = broker.pending({"id": "cli"})["id"]
        listed = approvals("list", "--json")
        equal(listed.returncode, 0, f"exit code of list ({listed.stderr[-200:]})")
        expect(id in listed.stdout, f"it is listed: {listed.stdout[:300]}")
        json.loads(listed.stdout)
        shown = approvals("show", id)
        expect(shown.returncode == 0 and "cli" in shown.stdout, f"it is shown: {shown.stdout[:300]}{shown.stderr}")
        done = approvals("approve", id)
        equal(done.returncode, 0, f"exit code of approve ({done.stderr[-300:]})")
        equal(text_of(call.result()), "did work cli", "the answer")
        decided = broker.state(id, "completed")["decisions"][0]
        equal((decided["reviewer"], decided["via"]), ("ana", "cli"), "who and how")

    with report.case("the terminal rejects with a reason, and says what is refused"):
        call = mcp.begin_call("work", {"id": "cli-no"})
        id = broker.pending({"id": "cli-no"})["id"]
        equal(approvals("reject", id, "--reason", "No, thanks.").returncode, 0, "exit code of reject")
        expect("No, thanks." in text_of(call.result()), text_of(call.result()))
        late = approvals("approve", id)
        equal(late.returncode, 1, "exit code of a late approve")
        expect("rejected" in late.stderr, f"it says what was decided: {late.stderr[-300:]}")
        for token in ("wrong-token-0123456789abc", AGENT):
            done = approvals("list", token=token)
            equal(done.returncode, 1, "exit code with a wrong token")
            expect(token not in done.stdout + done.stderr, "the token is not printed")

    with report.case("policy explain says which rule decides"):
        done = broker.command("policy", "explain", "--upstream", "slow", "--tool", "work")
        equal(done.returncode, 0, f"exit code ({done.stderr[-300:]})")
        expect("/tools/work" in done.stdout and "require_approval" in done.stdout, done.stdout[:300])

    with report.case("check --connect reaches what there is, and says what it cannot reach"):
        equal(broker.command("check", "--connect").returncode, 0, "exit code")
        upstream.stop()
        done = broker.command("check", "--connect")
        equal(done.returncode, 1, f"exit code with the upstream down ({done.stdout[-300:]}{done.stderr[-300:]})")
        expect("slow" in done.stdout + done.stderr, "the upstream is named")
        upstream.start()

    with report.case("check --connect and /api/v1/tools tell what of a policy fits no tool, with the nearest name"):
        slipped = {**POLICY, "tools": {**POLICY["tools"], "wrok": {"action": "deny"}}}
        other = Placet(stage, [{"name": "slow", "url": upstream.url, "policy": slipped}], name="slipped").start()
        done = other.command("check", "--connect")
        equal(done.returncode, 0, f"exit code ({done.stderr[-300:]})")
        expect("/tools/wrok" in done.stderr and 'did you mean "work"?' in done.stderr, done.stderr[-500:])

        def misfits():
            found = other.api("GET", "/tools", status=200).json()["misfits"]
            return [misfit for misfit in found if misfit["rule"] == "/tools/wrok"]

        until(misfits, 20, "the misfit in the API")
        other.stop()

    with report.case("audit verify walks the chain beside the running broker, and finds a changed record"):
        done = broker.command("audit", "verify")
        equal(done.returncode, 0, f"exit code ({done.stderr[-300:]})")
        broker.stop()
        with sqlite3.connect(broker.dir / "placet.db") as db:
            seq = db.execute("select seq from audit where seq is not null order by seq limit 1 offset 3").fetchone()[0]
            db.execute("update audit set actor = 'somebody' where seq = ?", (seq,))
        done = broker.command("audit", "verify")
        equal(done.returncode, 1, f"exit code after a change ({done.stdout[-200:]})")
        expect(str(seq) in done.stdout + done.stderr, f"seq {seq} is named: {done.stdout[-200:]}{done.stderr[-200:]}")
        with sqlite3.connect(broker.dir / "placet.db") as db:
            kinds = {row[0] for row in db.execute("select kind from audit")}
        expect(len(kinds) > 3, f"kinds of records: {sorted(kinds)}")

    with report.case("no secret of this stage is in the log or the audit"):
        log = (stage.dir / "placet.log").read_text()
        for secret in (AGENT, ANA, ADMIN, "ana@example.org"):
            expect(secret not in log, f"{secret} is in the log")
        for file in broker.dir.glob("placet.db*"):
            for secret in (AGENT, ANA, ADMIN):
                expect(secret.encode() not in file.read_bytes(), f"{secret} is in {file.name}")
