"""Bad input from every side: each is answered as the contract says, by name and code, and none of
it reaches an upstream, decides anything, or ends the broker."""

import json
import socket

from harness import ADMIN, AGENT, ANA, BEN, Placet, Stage, code_of, equal, expect

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

    for path in ("/nope", "/mcp/", "/mcp/slow/more", "/.well-known/oauth-protected-resource", "/api/v1/nope",
                 "/.well-known/oauth-authorization-server/mcp/slow"):  # fmt: skip
        with report.case(f"{path}: 404 JSON, no redirect"):
            reply = broker.http("GET", path, headers={"Authorization": f"Bearer {ANA}"})
            equal(reply.status, 404, "status")
            expect("json" in reply.headers.get("content-type", ""), f"{reply.headers}")
            reply.json()

    with report.case("several Hosts, no Host, and a Host that differs from the address: 400"):
        own = f"Host: 127.0.0.1:{broker.port}\r\n"
        for target, hosts in (
            ("/", own + own), ("/mcp/slow", own + "Host: evil.example\r\n"), ("/", ""), ("http://evil.example/", own),
        ):  # fmt: skip
            with socket.create_connection(("127.0.0.1", broker.port), 10) as s:
                s.sendall(f"GET {target} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
                equal(s.recv(12)[9:12], b"400", f"status of {target} with {hosts!r}")

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
