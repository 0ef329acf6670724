"""Servers as they are: each has one oddity, and an allowed and an approved call of it are made. What
can be tied to its request is its answer, with its bytes, and completes the approval; what surely did
not run runs after all; and nothing waits for a timeout.
"""

import json
import re
import sys
import time
import urllib.parse

from harness import (
    ANA, FIXTURES, Placet, Stage, code_of, decision_of, equal, expect, free_port, node, node_package, text_of, until,
)  # fmt: skip

POLICY = {"version": "1", "tools": {"free": {"action": "allow"}, "gated": {"action": "require_approval"}}}
# The upstream's timeout is ten minutes; nothing here may come near it.
AT_ONCE = 15

BOTH = [
    "plain", "text_id", "float_id", "exponent_id", "null_error", "no_version", "echoed_method", "bom", "spaces",
    "batch",
    "duplicate_keys", "duplicate_id", "lone_surrogate", "nan", "infinity", "raw_control", "deep",
]  # fmt: skip
ERRORS_BOTH = ["null_result", "text_error"]
HTTP = [
    "no_type", "html_type", "json_as_events", "events", "events_crlf", "events_without_end", "events_of_another_name",
    "events_as_text", "compresses", "closes",
]  # fmt: skip
ERRORS_HTTP = [
    "error_400", "error_403", "error_404", "error_409", "error_422", "error_429", "error_500", "error_503",
    "error_null_id", "error_null_id_500",
]  # fmt: skip
FORGETFUL = [
    "forgets_404", "forgets_400_null", "forgets_400_own", "forgets_400_text", "forgets_500", "forgets_500_error",
]  # fmt: skip


class Odd:
    """One odd server, as an upstream."""

    def __init__(self, stage, oddity, http):
        self.stage, self.oddity = stage, oddity
        self.name = oddity.replace("_", "-") + ("-http" if http else "-stdio")
        self.token = f"agent-token-of-{self.name}"
        self.dir = stage.dir / self.name
        self.dir.mkdir()
        argv = [sys.executable, "-B", str(FIXTURES / "odd_server.py"), oddity, str(self.dir)]
        self.config = {"name": self.name, "policy": dict(POLICY)}
        if http:
            self.port = free_port()
            self.argv = [*argv, str(self.port)]
            self.config["url"] = f"http://127.0.0.1:{self.port}/mcp"
            self.start()
        else:
            self.config |= {"command": argv, "env": stage.upstream_env()}

    def start(self):
        self.process = self.stage.start(self.argv, self.name)
        self.stage.wait_port(self.port, self.process, self.name)

    def restart(self):
        self.stage.end(self.process)
        self.start()

    def ran(self, id):
        file = self.dir / "ran"
        return file.read_text().splitlines().count(id) if file.exists() else 0


def approved(broker, mcp, id, meanwhile=lambda: None, tool="gated", arguments=None):
    """A gated call, approved by the API while it waits: its answer, its approval, the seconds since."""
    arguments = {"id": id} if arguments is None else arguments
    call, approval = mcp.held(tool, arguments)
    meanwhile()
    began = time.monotonic()
    broker.decide(approval)
    answer = call.result(AT_ONCE)
    return answer, broker.approval(approval), time.monotonic() - began


def run(report):
    with Stage(report) as stage:
        answers_and_errors(report, stage)
    with Stage(report) as stage:
        forgotten(report, stage)
        real_server(report, stage)
    with Stage(report) as stage:
        unusable(report, stage)


def answers_and_errors(report, stage):
    odd = [Odd(stage, oddity, http) for http in (True, False) for oddity in BOTH + ERRORS_BOTH]
    odd += [Odd(stage, oddity, True) for oddity in HTTP + ERRORS_HTTP]
    # An agent for each: what one agent may ask for in a while, and its sessions, are limited.
    agents = [{"name": server.name, "token": server.token} for server in odd]
    broker = Placet(stage, [server.config for server in odd], agents=agents).start()
    for server in odd:
        is_error = server.oddity in ERRORS_BOTH + ERRORS_HTTP
        for era in ("legacy", "modern"):
            with report.case(f"{server.name}, {era} client: an allowed call is answered at once"):
                began = time.monotonic()
                mcp = broker.mcp(server.name, token=server.token, era=era)
                answer = mcp.call("free", {"id": f"free {era}"}, timeout=AT_ONCE)
                judge(server, answer, is_error)
                equal(server.ran(f"free {era}"), 1, "executions")
                expect(time.monotonic() - began < AT_ONCE, "it waited")
            with report.case(f"{server.name}, {era} client: an approved call is completed, and shown"):
                answer, approval, _ = approved(broker, mcp, f"gated {era}")
                judge(server, answer, is_error)
                equal((approval["state"], server.ran(f"gated {era}")), ("completed", 1), "state, executions")
                if not is_error:
                    equal(decision_of(answer)["code"], "approved", "the decision")
                shown(broker, approval, is_error)


def judge(server, answer, is_error):
    if is_error:
        expect("no such thing" in answer.get("error", {}).get("message", ""), f"the server's error: {answer}")
        return
    expect(text_of(answer).startswith("did it"), f"the server's result: {answer}")
    result = answer["result"]
    if server.oddity == "lone_surrogate":
        equal(text_of(answer), "did it \ud800", "the text")
    if server.oddity == "nan":
        expect(result["structuredContent"]["n"] != result["structuredContent"]["n"], "NaN came as it was")
    if server.oddity == "infinity":
        equal(result["structuredContent"]["n"], [float("-inf")], "the number")
    if server.oddity == "deep":
        expect(json.dumps(result).count("[") > 200, "it is as deep as it was")


def strict(text):
    """JSON as the strictest reader takes it."""

    def never(word):
        raise ValueError(f"{word} is no JSON")

    str(json.loads(text, parse_constant=never)).encode()


def shown(broker, approval, is_error):
    """The stored outcome survives being shown: by the API, in lists and on pages."""
    id = approval["id"]
    equal(approval["outcome"]["is_error"], is_error, "the outcome")
    strict(broker.api("GET", f"/approvals/{id}", status=200).text)
    strict(broker.api("GET", "/approvals?limit=5", status=200).text)
    page = broker.http("GET", f"/approvals/{id}", headers={"Cookie": signed_in(broker)})
    expect(page.status == 200 and ("no such thing" if is_error else "did it") in page.text, f"the page: {page.status}")


def signed_in(broker):
    """The cookie of a reviewer's session."""
    if not hasattr(broker, "cookie"):
        page = broker.http("GET", "/sign-in")
        token = re.search('name="form_token" value="([^"]*)"', page.text).group(1)
        form = urllib.parse.urlencode({"token": ANA, "form_token": token, "next": "/"})
        headers = {
            "Content-Type": "application/x-www-form-urlencoded", "Origin": broker.url,
            "Cookie": page.headers.get("set-cookie", "").split(";")[0],
        }  # fmt: skip
        reply = broker.http("POST", "/sign-in", form, headers)
        expect("set-cookie" in reply.headers, f"sign-in: {reply.status} {reply.text[:300]}")
        broker.cookie = reply.headers["set-cookie"].split(";")[0]
    return broker.cookie


def forgotten(report, stage):
    odd = [Odd(stage, oddity, True) for oddity in FORGETFUL]
    broker = Placet(stage, [server.config for server in odd], name="forgotten").start()
    for server in odd:
        with report.case(f"{server.oddity}: after a restart allowed calls go on"):
            mcp = broker.mcp(server.config["name"])
            mcp.call("free", {"id": "before"}, timeout=AT_ONCE)
            server.restart()
            answer = mcp.call("free", {"id": "after"}, timeout=AT_ONCE)
            equal((text_of(answer), server.ran("after")), ("did it", 1), "the answer, executions")
        with report.case(f"{server.oddity}: restarted while a call waits, the approved call runs once"):
            answer, approval, _ = approved(broker, mcp, "gated", server.restart)
            equal((text_of(answer), code_of(answer)), ("did it", "approved"), "the answer")
            equal((approval["state"], server.ran("gated")), ("completed", 1), "state, executions")


def real_server(report, stage):
    """The reference server, whose sessions are gone with its process."""
    port = free_port()
    policy = {"version": "1", "tools": {"echo": {"action": "require_approval"}, "get-sum": {"action": "allow"}}}
    script = node_package("@modelcontextprotocol/server-everything/dist/index.js")
    processes = []

    def start():
        argv = [node(), script, "streamableHttp"]
        processes.append(stage.start(argv, "everything", env={"PORT": str(port)}))
        stage.wait_port(port, processes[-1], "server-everything")

    def restart():
        stage.end(processes[-1])
        start()

    start()
    upstream = {"name": "everything", "url": f"http://127.0.0.1:{port}/mcp", "policy": policy}
    broker = Placet(stage, [upstream], name="everything-broker").start()
    for era in ("legacy", "modern"):
        with report.case(f"server-everything, {era} client: restarted while a call waits, it runs and is completed"):
            mcp = broker.mcp("everything", era=era)
            arguments = {"message": f"hello {era}"}
            answer, approval, _ = approved(broker, mcp, "", restart, "echo", arguments)
            equal((text_of(answer), code_of(answer)), (f"Echo: hello {era}", "approved"), "the answer")
            equal(approval["state"], "completed", "its state")
        with report.case(f"server-everything, {era} client: restarted, the next allowed call is answered"):
            restart()
            answer = mcp.call("get-sum", {"a": 2, "b": 3}, timeout=AT_ONCE)
            expect("5" in text_of(answer), f"the sum: {answer}")


def unusable(report, stage):
    redirect, garbage, broken = (
        Odd(stage, "redirect", True), Odd(stage, "garbage", True), Odd(stage, "breaks_off", False),
    )  # fmt: skip
    servers = (redirect, garbage, broken)
    broker = Placet(stage, [s.config for s in servers], name="unusable").start([garbage.name, broken.name])

    with report.case("a redirect: the error names where to, without secrets, and the key to change"):

        def told():
            answer = broker.mcp("redirect-http").begin("tools/list").result(AT_ONCE)
            return answer.get("error", {}).get("message", "")

        text = told()
        for word in ("308", "https://elsewhere.example/mcp/", "url of [[upstreams]]"):
            expect(word in text, f"{word} in {text}")
        expect("secret" not in text and "word@" not in text, text)

    for server in (garbage, broken):
        with report.case(f"{server.name}: an approved call ends at once, and nobody knows"):
            mcp = broker.mcp(server.config["name"])
            answer, approval, _ = approved(broker, mcp, "gated")
            equal((code_of(answer), approval["state"]), ("outcome_unknown", "indeterminate"), "code, state")
            equal(server.ran("gated"), 1, "executions")
            until(lambda: code_of(mcp.call("gated", {"id": "gated"})) == "outcome_unknown", 5, "never again")
