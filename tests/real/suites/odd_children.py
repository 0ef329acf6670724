"""Child servers that do something oddly, and agents that open many: with default settings the
broker bounds what they cost, and what can be answered is answered."""

import contextlib
import json
import os
import sys
import threading
import time

from harness import AGENT, FIXTURES, LEGACY, Placet, Stage, code_of, equal, expect, text_of, until

POLICY = {"version": "1", "default": "allow", "tools": {"gated": {"action": "require_approval"}}}
GATED = {"version": "1", "default": "require_approval"}
# Modes of fixtures/odd_child.py.
MODES = ("storm", "grows", "cursor", "circle", "endless", "finishes", "fails", "unread", "bom", "plain")
MAX_RESULT = 16 << 20


class Odd:
    """One odd child upstream, and what its fixture wrote down."""

    def __init__(self, stage, mode, **more):
        self.mode, self.dir = mode, stage.dir / f"odd-{mode}"
        self.dir.mkdir()
        command = [sys.executable, "-B", str(FIXTURES / "odd_child.py"), mode, str(self.dir)]
        self.config = {"name": mode, "command": command, "env": stage.upstream_env(), "policy": POLICY, **more}

    def lines(self, name):
        file = self.dir / name
        return file.read_text().splitlines() if file.exists() else []

    def living(self):
        """Its processes that run."""
        found = []
        for pid in self.lines("pids"):
            with contextlib.suppress(OSError):
                if f"odd_child.py\0{self.mode}\0" in open(f"/proc/{pid}/cmdline").read():
                    found.append(int(pid))
        return found


def run(report):
    with Stage(report) as stage:
        odd = {mode: Odd(stage, mode) for mode in MODES}
        gated = Odd(stage, "unread-gated")
        gated.config["command"][-2] = "unread"
        gated.config["policy"] = GATED
        tools = [mode for mode in MODES if mode != "endless"] + ["unread-gated"]
        configs = [o.config for o in odd.values()] + [gated.config]
        broker = Placet(stage, configs).start(tools=tools)
        lists(report, broker, odd)
        ends(report, broker, odd, gated)
        sizes(report, broker, odd["plain"])
        marks(report, broker, odd["bom"])
        many_sessions(report, broker, odd["plain"])


class Ear(threading.Thread):
    """The stream on which a legacy session hears what belongs to no request."""

    def __init__(self, mcp):
        super().__init__(daemon=True)
        self.mcp, self.heard = mcp, []
        self.start()

    def run(self):
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self.mcp.placet.port, timeout=60)
        headers = {"Accept": "text/event-stream", "MCP-Protocol-Version": LEGACY, "Mcp-Session-Id": self.mcp.session}
        connection.request("GET", self.mcp.path, headers={"Authorization": f"Bearer {AGENT}", **headers})
        with contextlib.suppress(OSError, ValueError):
            for line in connection.getresponse():
                if line.startswith(b"data:") and line[5:].strip():
                    self.heard.append(json.loads(line[5:])["method"])


def lists(report, broker, odd):
    with report.case("a server that always says its lists changed is asked ever more rarely, and clients hear once at most"):
        storm = odd["storm"]
        mcp = broker.mcp("storm", era="legacy")
        ear = Ear(mcp)
        before = len(storm.lines("said"))
        for _ in range(5):
            for kind in ("tools", "prompts", "resources"):
                mcp.begin(f"{kind}/list").result()
            time.sleep(1)
        time.sleep(5)
        asked = len(storm.lines("said")) - before
        expect(asked < 150, f"{asked} requests in 10 s")
        for kind in ("tools", "prompts", "resources"):
            count = ear.heard.count(f"notifications/{kind}/list_changed")
            expect(count <= 1, f"{count} of {kind}")
    with report.case("where its tools do change, clients hear of it and may call them"):
        grows = odd["grows"]
        mcp = broker.mcp("grows", era="legacy")
        ear = Ear(mcp)
        mcp.begin("tools/list").result()
        time.sleep(1)
        ear.heard.clear()
        (grows.dir / "grow").write_text("")
        mcp.begin("tools/list").result()
        until(lambda: "notifications/tools/list_changed" in ear.heard, 30, "it is told")
        until(lambda: "did" in text_of(mcp.call("grown", {})), 30, "it may be called")
    for mode in ("cursor", "circle"):
        with report.case(f"a list whose cursors don't advance ({mode}) is used"):
            said = odd[mode].lines("said").count("tools/list")
            expect(said <= 6, f"{said} requests for the list")
            answer = broker.mcp(mode).call("echo", {"id": "1"})
            expect("did 1" in text_of(answer), f"{answer}")
    with report.case("a list without end can't be read: /upstreams says why, /readyz is degraded"):
        until(lambda: "max_list_pages" in page(broker), 60, "/upstreams names the limit")
        ready = broker.http("GET", "/readyz")
        equal((ready.status, ready.json()["status"]), (200, "degraded"), "readyz")
        equal(ready.json()["checks"]["upstreams"], "degraded", "the check")
        equal(code_of(broker.mcp("endless").call("echo", {})), "upstream_unavailable", "a call")


def page(broker):
    rows = broker.api("GET", "/upstreams")
    return rows.text if rows.status == 200 else json.dumps(rows.status)


def ends(report, broker, odd, gated):
    for mode in ("finishes", "fails", "unread"):
        with report.case(f"a child that {mode} after each answer: every call is answered, and runs once"):
            mcp = broker.mcp(mode)
            for n in range(5):
                answer = mcp.call("echo", {"id": str(n)}, timeout=30)
                expect(f"did {n} in" in text_of(answer), f"call {n}: {answer}")
            equal(odd[mode].lines("said").count("tools/call"), 5, "calls that reached a child")
    with report.case("an approved call that such a child never read is sent to the next one, once"):
        mcp = broker.mcp("unread-gated")
        for n in range(3):
            arguments = {"id": str(n)}
            call = mcp.begin_call("echo", arguments)
            broker.decide(broker.pending(arguments)["id"])
            expect(f"did {n} in" in text_of(call.result(30)), "the answer")
        equal(gated.lines("said").count("tools/call"), 3, "calls that reached a child")


def sizes(report, broker, plain):
    for id_last in (False, True):
        place = "behind" if id_last else "before"
        with report.case(f"a result over max_result fails alone, its id {place} it, and names the limit"):
            mcp = broker.mcp("plain")
            pids = {text_of(mcp.call("echo", {"id": "a"})).split()[-1]}
            huge = mcp.begin_call("huge", {"size": MAX_RESULT + 10, "id_last": id_last})
            beside = mcp.begin_call("echo", {"id": "b"})
            answer = huge.result(30)
            expect("server.max_result" in json.dumps(answer), f"{str(answer)[:300]}")
            pids.add(text_of(beside.result(30)).split()[-1])
            pids.add(text_of(mcp.call("echo", {"id": "c"})).split()[-1])
            equal(len(pids), 1, "children")
    with report.case("a result just below max_result passes"):
        answer = broker.mcp("plain").call("huge", {"size": MAX_RESULT - 200}, timeout=60)
        equal(len(text_of(answer)), MAX_RESULT - 200, "its length")


def marks(report, broker, bom):
    with report.case("a byte order mark before a child's first line is ignored"):
        expect("did 1" in text_of(broker.mcp("bom").call("echo", {"id": "1"})), "the answer")
        equal(len(bom.living()) <= 2, True, "children")
    with report.case("a byte order mark before a POST body is ignored"):
        mcp = broker.mcp("plain")
        body, headers = mcp.envelope("tools/call", {"name": "echo", "arguments": {"id": "2"}})
        reply = mcp.send("\ufeff" + json.dumps(body), headers)
        equal(reply.status, 200, f"the status ({reply.text[:200]})")
        expect("did 2" in reply.text, reply.text[:200])
    with report.case("a byte order mark before the first line to `placet stdio` is ignored"):
        import subprocess

        from harness import binary

        hello = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "bom", "version": "1"}}
        lines = [
            {"id": 1, "method": "initialize", "params": hello},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": {"name": "echo", "arguments": {"id": "3"}}},
        ]
        text = "\ufeff" + "".join(json.dumps({"jsonrpc": "2.0", **line}) + "\n" for line in lines)
        done = subprocess.run(
            [binary(), "stdio", "--server", broker.url, "--upstream", "plain"], input=text, text=True,
            capture_output=True, timeout=60, env={**os.environ, "PLACET_AGENT_TOKEN": AGENT},
        )  # fmt: skip
        expect("did 3" in done.stdout, f"{done.stdout[-300:]} {done.stderr[-300:]}")


def many_sessions(report, broker, plain):
    def session(declares):
        mcp = broker.mcp("plain", era="legacy", declares=declares)
        mcp.begin("tools/list").result()
        mcp.send(None, method="DELETE")

    with report.case("40 sessions that declare something else each share one child"):
        before = len(plain.living())
        for n in range(40):
            session({"elicitation": {"n": n}, "roots": {"m": n}})
        more = len(plain.living()) - before
        expect(more <= 1, f"{more} more children")
    with report.case("sessions of different features are bounded, and their children end with them"):
        for form in ({"form": {}}, {"url": {}}, {"form": {}, "url": {}}, None):
            for roots in ({}, {"listChanged": True}, None):
                declares = {"elicitation": form, "roots": roots}
                session({k: v for k, v in declares.items() if v is not None})
        expect(len(plain.living()) <= 18, f"{len(plain.living())} children")
        # Placet's own child, and that of the modern client, whose end nobody tells.
        until(lambda: len(plain.living()) <= 2, 40, "the others end")
