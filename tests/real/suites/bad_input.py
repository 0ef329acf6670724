"""Bad input from every side: each is answered as the contract says, by name and code, and none of
it reaches an upstream, decides anything, or ends the broker."""

import contextlib
import json
import socket
import sqlite3
import subprocess
import time

from harness import (
    ADMIN, AGENT, ANA, BEN, Placet, Stage, binary, code_of, decision_of, equal, expect, free_port, setting, text_of, toml,
    until,
)  # fmt: skip
from suites.crash import no_postgres, postgres_database
from suites.mail import mail_notifier

OTHER = "other-token-0123456789abcdef"
AUDITOR = "audit-token-0123456789abcdef"
POLICY = {
    "version": "1",
    "hide": ["free"],
    "tools": {
        "work": {"action": "require_approval"},
        "brief": {"action": "require_approval", "approval": {"timeout": "2s", "reviewers": ["ana"]}},
        "peek": {"action": "allow"},
    },
}
AGENTS = [
    {"name": "agent", "token": AGENT, "owner": "ben"},
    {"name": "other", "token": OTHER, "upstreams": ["elsewhere"]},
]
REVIEWERS = [
    {"name": "ana", "email": "ana@example.org", "token": ANA},
    {"name": "ben", "email": "ben@example.org", "token": BEN},
    {"name": "root", "email": "root@example.org", "role": "admin", "token": ADMIN},
    {"name": "eve", "email": "eve@example.org", "role": "auditor", "token": AUDITOR},
]


def run(report):
    with Stage(report) as stage:
        upstream = stage.slow_upstream()
        slow = {"name": "slow", "url": upstream.url, "policy": POLICY}
        elsewhere = {"name": "elsewhere", "url": upstream.url, "policy": POLICY}
        broker = Placet(stage, [slow, elsewhere], agents=AGENTS, reviewers=REVIEWERS).start()
        messages(report, broker)
        doors(report, broker)
        api(report, broker)
        with report.case("nothing of all that reached the upstream or waits"):
            equal(upstream.lines("started"), [], "executions")
            equal(broker.approvals(state="pending,approved,running", token=ADMIN), [], "open approvals")
    with Stage(report) as stage:
        upstreams_that_fail(report, stage)
    with Stage(report) as stage:
        mail_that_fails(report, stage)
    with Stage(report) as stage:
        store_that_fails(report, stage)
    with Stage(report) as stage:
        configurations(report, stage)


def tool_call(arguments, name='"work"', id="7", more="", in_params=""):
    return (
        f'{{"jsonrpc":"2.0","id":{id},"method":"tools/call"{more},'
        f'"params":{{"name":{name},"arguments":{arguments}{in_params}}}}}'
    )


def messages(report, broker):
    mcp = broker.mcp("slow", era="legacy")

    def refused(what, body, status, code, id=...):
        with report.case(f"{what}: {status} {code}"):
            reply = mcp.send(body if isinstance(body, bytes) else body.encode())
            statuses = status if isinstance(status, tuple) else (status,)
            expect(reply.status in statuses, f"{reply.status}: {reply.text[:200]}")
            message = reply.json()
            equal(message["error"]["code"], code, f"code of {message}")
            expect(len(message["error"]["message"]) > 10, f"the message says something: {message}")
            if id is not ...:
                equal(message["id"], id, "id")

    for what, body in (
        ("cut short", b'{"jsonrpc":"2.0","id":7,'),
        ("empty", b""),
        ("not UTF-8", tool_call('{"id":"x"}').encode().replace(b'"x"', b'"\xff"')),
        ("two values", tool_call("{}") + "{}"),
        ("a number that is none", tool_call('{"a":NaN}')),
        ("a number with a leading zero", tool_call('{"a":01}')),
        ("a comment", tool_call("{/* */}")),
        ("a raw control character", tool_call('{"a":"\n"}')),
    ):
        refused(f"not JSON ({what})", body, 400, -32700)
    refused("a batch", f"[{tool_call('{}')}]", 400, -32600)
    for what, body in (
        ("in arguments", tool_call('{"id":"a","id":"b"}')),
        ("deep in arguments", tool_call('{"a":[{"b":{"c":1,"c":1}}]}')),
        ("by escape", tool_call('{"id":"a","\\u0069d":"b"}')),
        ("arguments twice", tool_call('{"id":"a"}', in_params=',"arguments":{"id":"b"}')),
        ("method twice", tool_call("{}", more=',"method":"tools/list"')),
        ("params twice", tool_call("{}", more=',"params":{}')),
    ):
        refused(f"a duplicate key ({what})", body, 400, -32600, 7)
    for what, body in (
        ("Method", tool_call("{}", more=',"Method":"tools/list"')),
        ("PARAMS", tool_call("{}", more=',"PARAMS":{}')),
        ("Arguments", tool_call('{"id":"a"}', in_params=',"Arguments":{"id":"b"}')),
        ("NAME", tool_call("{}", in_params=',"NAME":"peek"')),
        ("_Meta", tool_call("{}", in_params=',"_Meta":{}')),
    ):
        refused(f"a key that is another but for case ({what})", body, 400, -32600, 7)
    refused("too deep", tool_call('{"a":' + "[" * 70 + "]" * 70 + "}"), 400, -32600)
    with report.case("bottomless: 400, and no crash"):
        reply = mcp.send(tool_call('{"a":' + "[" * 200_000))
        equal(reply.status, 400, "status")
        expect(reply.json()["error"]["code"] in (-32600, -32700), reply.text[:200])
    refused("a lone high surrogate", tool_call('{"a":"\\ud800"}'), 400, -32600, 7)
    refused("a lone low surrogate in a key", tool_call('{"\\udc00":1}'), 400, -32600, 7)
    refused("a reversed pair", tool_call('{"a":"\\udc00\\ud800"}'), 400, -32600, 7)
    for what, arguments in (("array", "[]"), ("string", '"{}"'), ("null", "null"), ("number", "1")):
        refused(f"arguments that are a {what}", tool_call(arguments), (200, 400), -32602, 7)
    refused("a name that is no string", tool_call("{}", name="1"), (200, 400), -32602, 7)
    refused("an unknown tool", tool_call("{}", name='"nope"'), 200, -32602, 7)
    refused("a hidden tool", tool_call("{}", name='"free"'), 200, -32602, 7)
    refused("arguments beyond max_arguments", tool_call(f'{{"a":"{"x" * 300_000}"}}'), (200, 400), -32602, 7)

    with report.case("hidden and unknown are told apart by nothing but the name"):
        texts = [mcp.send(tool_call("{}", name=f'"{n}"')) for n in ("free", "fred")]
        equal(texts[0].text.replace("free", "fred"), texts[1].text, "the answer")
        equal(texts[0].json()["error"]["message"], "Unknown tool: free", "the message")

    with report.case("a body over max_body: 413"):
        body = tool_call(f'{{"a":"{"x" * 5_000_000}"}}')
        try:
            equal(mcp.send(body).status, 413, "status")
        except (BrokenPipeError, ConnectionResetError):
            # Answered and closed while we were still sending: what it said is lost with the reset.
            # Announced only, the answer can be read.
            head = f"POST /mcp/slow HTTP/1.1\r\nHost: 127.0.0.1:{broker.port}\r\nAuthorization: Bearer {AGENT}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            with socket.create_connection(("127.0.0.1", broker.port), 10) as s:
                s.sendall(head.encode())
                equal(s.recv(12)[9:12], b"413", "status")

    with report.case("the same key by another case deep inside arguments is the upstream's business"):
        answer = mcp.send(tool_call('{"id":"a","ID":"b","meta":{"Name":1,"name":2}}', name='"peek"'))
        expect("did peek a" in answer.text, answer.text[:300])

    with report.case("what passes, passes as sent: numbers, order, escapes, unknown fields"):
        sent = '{"z":1.0,"a":12345678901234567890,"e":1E400,"s":"\\u00e9\\/ü","id":"raw","n":-0}'
        reply = mcp.send(tool_call(sent, name='"peek"', in_params=',"x-unknown":{"b":1,"a":2}'))
        expect("did peek raw" in reply.text, reply.text[:300])
        requests = (broker.stage.dir).glob("upstream-*/requests")
        lines = [line for file in requests for line in file.read_text().splitlines() if '"raw"' in line]
        equal(len(lines), 1, "requests at the upstream")
        expect(sent in lines[0], f"the bytes at the upstream: {lines[0]}")
        expect('"x-unknown":{"b":1,"a":2}' in lines[0], f"unknown fields at the upstream: {lines[0]}")

    modern = broker.mcp("slow")

    def mismatch(what, code, status=400, body_change=None, **headers):
        with report.case(f"2026-07-28, {what}: {status} {code}"):
            body, sent = modern.envelope("tools/call", {"name": "work", "arguments": {}})
            if body_change:
                body_change(body)
            sent |= {k.replace("_", "-"): v for k, v in headers.items()}
            reply = modern.send(json.dumps(body), sent)
            equal(reply.status, status, f"status ({reply.text[:200]})")
            equal(reply.json()["error"]["code"], code, "code")
            equal(reply.json()["id"], body["id"], "id")
            return reply.json()["error"]

    mismatch("another name in the header", -32020, Mcp_Name="peek")
    mismatch("another method in the header", -32020, Mcp_Method="tools/list")
    mismatch("no name in the header", -32020, Mcp_Name=None)

    def version(body):
        body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2099-01-01"

    mismatch("a version of the future", -32022, body_change=version, MCP_Protocol_Version="2099-01-01")

    def no_capabilities(body):
        del body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]

    mismatch("no capabilities", -32602, body_change=no_capabilities)

    def ping(body):
        body["method"] = "ping"
        body["params"].pop("name")

    mismatch("a method that era has not", -32601, 404, body_change=ping, Mcp_Method="ping", Mcp_Name=None)


def doors(report, broker):
    mcp = broker.mcp("slow", era="legacy")
    listing = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})

    for what, header in (
        ("no token", None),
        ("a wrong token", "Bearer wrong-token-0123456789"),
        ("a reviewer's token", f"Bearer {ANA}"),
        ("another scheme", f"Basic {AGENT}"),
        ("an empty token", "Bearer "),
    ):
        with report.case(f"{what} at the MCP face: 401"):
            reply = mcp.send(listing, {"Authorization": header})
            equal(reply.status, 401, f"status ({reply.text[:200]})")
            expect(reply.headers.get("www-authenticate", "").startswith("Bearer"), f"{reply.headers}")

    with report.case("an upstream one may not use and one that is not: the same 404"):
        mine = broker.mcp("slow", OTHER).send(listing)
        none = broker.mcp("none", OTHER).send(listing)
        equal((mine.status, none.status), (404, 404), "statuses")
        equal(mine.text.replace("slow", "none"), none.text, "the bodies")

    with report.case("a session of another agent: 404"):
        theirs = broker.mcp("elsewhere", OTHER, era="legacy")
        reply = broker.mcp("elsewhere", AGENT, era="legacy")
        reply = reply.send(listing, {"Mcp-Session-Id": theirs.session})
        equal(reply.status, 404, f"status ({reply.text[:200]})")

    with report.case("an invented session: 404; none: 400"):
        equal(mcp.send(listing, {"Mcp-Session-Id": "0" * 32}).status, 404, "status")
        equal(mcp.send(listing, {"Mcp-Session-Id": None}).status, 400, "status without one")

    for header, value in (("Host", "evil.example"), ("Host", "127.0.0.1:1"), ("Origin", "https://evil.example"),
                          ("Origin", "null")):  # fmt: skip
        with report.case(f"{header}: {value} is refused: 403, but not at the health pages"):
            equal(mcp.send(listing, {header: value}).status, 403, "MCP")
            if value != "null":
                reply = broker.http("GET", "/api/v1/me", headers={"Authorization": f"Bearer {ANA}", header: value})
                equal(reply.status, 403, "API")
            for path in ("/healthz", "/readyz"):
                equal(broker.http("GET", path, headers={header: value}).status, 200, path)

    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        with report.case(f"Content-Type {kind}: 415"):
            equal(mcp.send(listing, {"Content-Type": kind}).status, 415, "status")
    with report.case("Content-Type with a charset is fine"):
        equal(mcp.send(listing, {"Content-Type": "application/json; charset=utf-8"}).status, 200, "status")

    for path in ("/nope", "/mcp", "/mcp/slow/more", "/.well-known/oauth-protected-resource", "/api/v1/nope",
                 "/.well-known/oauth-authorization-server/mcp/slow"):  # fmt: skip
        with report.case(f"{path}: 404 JSON, no redirect"):
            reply = broker.http("GET", path, headers={"Authorization": f"Bearer {ANA}"})
            equal(reply.status, 404, "status")
            expect("json" in reply.headers.get("content-type", ""), f"{reply.headers}")
            reply.json()

    with report.case("half a request and nonsense on the socket do not harm"):
        for nonsense in (b"GET / HTTP/1.1\r\nHost:", b"\x16\x03\x01\x02\x00\x01\x00", b"POST /mcp/slow HTTP/9.9\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", broker.port), 5) as s:
                s.sendall(nonsense)
        equal(broker.http("GET", "/healthz").status, 200, "health afterwards")


def api(report, broker):
    mcp = broker.mcp("slow")

    for what, token in (("no token", None), ("a wrong one", "x" * 30), ("an agent's", AGENT)):
        with report.case(f"API, {what}: 401"):
            problem(broker.api("GET", "/approvals", token=token), 401, "unauthorized")
    with report.case("API, unknown approval: 404"):
        for id in ("apr_" + "0" * 32, "nope", "..%2f..", "apr_"):
            problem(broker.api("GET", f"/approvals/{id}"), 404, "not_found")
            problem(broker.api("POST", f"/approvals/{id}/decision", {"decision": "approve"}), 404, "not_found")

    call = mcp.begin_call("work", {"id": "api"})
    id = broker.pending({"id": "api"})["id"]
    path = f"/approvals/{id}/decision"

    for what, body in (
        ("a word that is no decision", {"decision": "maybe"}),
        ("no decision", {"reason": "x"}),
        ("a rejection without a reason", {"decision": "reject"}),
        ("a rejection with an empty reason", {"decision": "reject", "reason": ""}),
        ("a reason over 2000 characters", {"decision": "reject", "reason": "ä" * 2001}),
        ("a reason that is no string", {"decision": "approve", "reason": 1}),
        ("an array", []),
    ):
        with report.case(f"API, {what}: 422"):
            problem(broker.api("POST", path, body), 422, "invalid_request")
    with report.case("API, a body that is not JSON: 422"):
        headers = {"Authorization": f"Bearer {ANA}", "Content-Type": "application/json"}
        problem(broker.http("POST", f"/api/v1{path}", "{", headers), 422, "invalid_request")
    with report.case("API, unknown query values: 422"):
        problem(broker.api("GET", "/approvals?state=nonsense"), 422, "invalid_request")
        problem(broker.api("GET", "/approvals?limit=x"), 422, "invalid_request")
    with report.case("API, another digest: 409"):
        body = {"decision": "approve", "digest": "sha256:" + "0" * 64}
        equal(problem(broker.api("POST", path, body), 409, "digest_mismatch")["approval"]["id"], id, "approval")
    with report.case("API, the agent's owner: 403 on approve"):
        problem(broker.api("POST", path, {"decision": "approve"}, token=BEN), 403, "own_agent")
    with report.case("API, an auditor: 403"):
        reply = broker.api("POST", path, {"decision": "approve"}, token=AUDITOR)
        expect(problem(reply, 403)["code"] in ("forbidden", "not_eligible"), reply.text)
    with report.case("API, settling and cancelling out of turn"):
        reply = broker.api("POST", f"/approvals/{id}/settle", {"done": True, "reason": "x"}, token=ADMIN)
        problem(reply, 409, "not_indeterminate")
        problem(broker.api("POST", f"/approvals/{id}/cancel", {"reason": "x"}), 403, "forbidden")
    with report.case("API, cookies do not POST"):
        headers = {"Content-Type": "application/json", "Cookie": f"session={ANA}"}
        equal(broker.http("POST", f"/api/v1{path}", '{"decision":"approve"}', headers).status, 401, "status")
    with report.case("none of these decided"):
        equal((broker.approval(id)["state"], broker.approval(id)["decisions"]), ("pending", []), "state, decisions")
    with report.case("API, a reason of 2000 characters is taken; repeating is fine, changing is not"):
        broker.decide(id, "reject", "ä" * 2000)
        equal(code_of(call.result()), "approval_rejected", "the answer")
        broker.decide(id, "reject", "ä" * 2000)
        reply = broker.api("POST", path, {"decision": "approve"})
        equal(problem(reply, 409, "already_decided")["approval"]["state"], "rejected", "approval")
        reply = broker.api("POST", path, {"decision": "approve"}, token=ADMIN)
        problem(reply, 409, "already_decided")
        problem(broker.api("POST", f"/approvals/{id}/cancel", {"reason": "x"}, token=ADMIN), 409, "not_cancellable")
    with report.case("API, after the end of the time: 409"):
        call = mcp.begin_call("brief", {"id": "late"})
        late = broker.pending({"id": "late"})["id"]
        problem(broker.api("POST", f"/approvals/{late}/decision", {"decision": "approve"}, token=ADMIN), 403, "not_eligible")
        call.result()
        reply = broker.api("POST", f"/approvals/{late}/decision", {"decision": "approve"})
        expect(problem(reply, 409)["code"] in ("expired", "already_decided"), reply.text)
        broker.state(late, "expired")


def problem(reply, status, code=None):
    """An RFC 9457 answer with these; its body."""
    equal(reply.status, status, f"status ({reply.text[:200]})")
    expect(reply.headers.get("content-type", "").startswith("application/problem+json"), f"{reply.headers}")
    body = reply.json()
    for key in ("type", "title", "status", "detail", "code"):
        expect(key in body, f"{key} in {sorted(body)}")
    if code:
        equal(body["code"], code, "code")
    return body


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
