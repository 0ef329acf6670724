"""The official clients, each against two official servers: every end a gated call can have.

What was executed is counted at the upstream: the lines that reached the file server's stdin, the
bodies that reached the HTTP server, and files that can be moved only once.
"""

import concurrent.futures
import json
import os
import subprocess
import time

from harness import (
    FIXTURES, HERE, MODERN, Placet, Stage, code_of, decision_of, equal, expect, free_port, node,
    node_package, python, text_of,
)  # fmt: skip

CLIENTS = {
    "py1": ([lambda: python("mcp1"), "client_py1.py"], "legacy"),
    "py2 auto": ([lambda: python("mcp2"), "client_py2.py"], "auto"),
    "ts1": ([node, "client_ts1.mjs"], "legacy"),
    "ts2 legacy": ([node, "client_ts2.mjs"], "legacy"),
    "ts2 auto": ([node, "client_ts2.mjs"], "auto"),
}
if os.environ.get("PLACET_REAL_SLOW"):
    CLIENTS["py2 legacy"] = ([lambda: python("mcp2"), "client_py2.py"], "legacy")


class Lane:
    """One client against one upstream, as an agent of its own."""

    def __init__(self, broker, client, upstream, number, clients=CLIENTS):
        (program, script), self.era = clients[client]
        self.argv = [program(), str(HERE / "clients" / script)]
        self.broker, self.upstream, self.number = broker, upstream, number
        self.agent = f"{client.replace(' ', '-')}-{upstream.name}"
        self.token = f"{self.agent}-token-0123456789"
        self.name = f"{client} over {upstream.name}"

    def run(self, *commands, at=None):
        url = f"{self.broker.url}/mcp{f'/{self.upstream.name}' if at is None else at}"
        done = subprocess.run(
            [*self.argv, url, self.token, self.era, json.dumps(commands)],
            capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        expect(done.returncode == 0, f"the client fails: {done.stderr[-600:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def begin(self, pool, command):
        return pool.submit(lambda: self.run(command)[0])

    def pending(self, call):
        return self.broker.pending(call["arguments"], agent=self.agent)["id"]

    def executed(self, call):
        return self.upstream.executed(call)

    def cases(self, report):
        # Two workers: the client and, while it waits, this thread's reviewer.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            for case in (self.plain, self.together, self.held, self.rejected, self.expired, self.gone):
                with report.case(f"{self.name}: {case.__doc__}"):
                    case(pool)

    def plain(self, _pool):
        """lists, allows, denies and hides"""
        up, n = self.upstream, self.number
        allowed, denied, hidden = (up.call(kind, f"p{n}", n) for kind in ("allowed", "denied", "hidden"))
        listed, done, refused, unknown = self.run({"do": "list"}, allowed, denied, hidden)
        if self.era == "auto":
            equal(listed["version"], MODERN, "the negotiated revision")
        names = [t["name"] for t in listed["ok"]["tools"]]
        expect(hidden["name"] not in names, "the hidden tool is not listed")
        expect(denied["name"] in names, "the denied tool stays listed")
        expect(not done["ok"].get("isError"), f"the allowed call succeeds: {text_of(done['ok'])}")
        equal(code_of(refused["ok"]), "policy_denied", "the denied call")
        equal(refused["ok"]["isError"], True, "isError of the denied call")
        equal(unknown.get("error", {}).get("code"), -32602, f"the hidden call ({unknown})")
        expect(f"Unknown tool: {hidden['name']}" in unknown["error"]["message"], unknown["error"]["message"])
        equal((self.executed(allowed), self.executed(denied), self.executed(hidden)), (1, 0, 0), "executions")

    def together(self, pool):
        """sees all upstreams at the one address, and is held there"""
        up, n = self.upstream, self.number
        call = up.call("gated", f"one{n}", n * 100 + 4)
        as_one = {**call, "name": f"{up.name}__{call['name']}"}
        waiting = pool.submit(lambda: self.run({"do": "list"}, as_one, at=""))
        self.broker.decide(self.pending(call))
        listed, answer = waiting.result()
        names = [t["name"] for t in listed["ok"]["tools"]]
        seen = [name.split("__")[0] for name in names]
        wanted = [u["name"] for u in self.broker.config["upstreams"]]
        equal(list(dict.fromkeys(seen)), wanted, "the upstreams in the list, in order")
        expect(f"{up.name}__{up.call('hidden', '', 0)['name']}" not in names, "the hidden tool is not listed")
        equal(code_of(answer["ok"]), "approved", f"the answer ({text_of(answer['ok'])})")
        equal(self.executed(call), 1, "executions")
        up.proof(call)

    def held(self, pool):
        """held, approved after 5 s, executed once"""
        call = self.upstream.call("gated", f"held{self.number}", self.number * 100 + 1)
        waiting = self.begin(pool, {**call, "progress": True})
        id = self.pending(call)
        time.sleep(5)
        equal(self.executed(call), 0, "executions before the decision")
        self.broker.decide(id)
        answer = waiting.result()
        expect(not answer["ok"].get("isError"), f"it ran: {text_of(answer['ok'])}")
        equal(code_of(answer["ok"]), "approved", "the decision in _meta")
        equal(decision_of(answer["ok"])["approval"], id, "the approval in _meta")
        steps = [p[0] for p in answer["progress"]]
        expect(len(steps) >= 2 and steps == sorted(set(steps)), f"progress rises: {steps}")
        self.broker.state(id, "completed")
        equal(self.executed(call), 1, "executions")
        self.upstream.proof(call)

    def rejected(self, pool):
        """held and rejected, with the reviewer's words"""
        call = self.upstream.call("gated", f"no{self.number}", self.number * 100 + 2)
        waiting = self.begin(pool, call)
        id = self.pending(call)
        self.broker.decide(id, "reject", "Wrong file, sorry.")
        answer = waiting.result()["ok"]
        equal((answer["isError"], code_of(answer)), (True, "approval_rejected"), "the answer")
        equal(decision_of(answer)["reason"], "Wrong file, sorry.", "the reason")
        expect("not executed" in text_of(answer).lower(), text_of(answer))
        expect("Wrong file, sorry." in text_of(answer), text_of(answer))
        equal(self.executed(call), 0, "executions")

    def expired(self, _pool):
        """nobody decides: expired, not executed"""
        call = self.upstream.call("brief", f"late{self.number}", self.number)
        answer = self.run(call)[0]["ok"]
        equal((answer["isError"], code_of(answer)), (True, "approval_expired"), f"the answer ({text_of(answer)})")
        id = decision_of(answer)["approval"]
        self.broker.state(id, "expired")
        equal(self.executed(call), 0, "executions")

    def gone(self, _pool):
        """gives up after 3 s, comes back after the approval: executed once"""
        call = self.upstream.call("gated", f"gone{self.number}", self.number * 100 + 3)
        answer = self.run({**call, "timeout": 3})[0]
        equal(answer.get("error", {}).get("kind"), "timeout", f"the first answer ({answer})")
        id = self.pending(call)
        self.broker.not_waiting(id)
        self.broker.decide(id)
        self.broker.state(id, "approved")
        equal(self.executed(call), 0, "executions with nobody waiting")
        answer = self.run(call)[0]["ok"]
        expect(not answer.get("isError"), f"it ran: {text_of(answer)}")
        equal(decision_of(answer)["approval"], id, "the approval in _meta")
        self.broker.state(id, "completed")
        equal(self.executed(call), 1, "executions")
        equal(len(self.broker.approvals(agent=self.agent, state="pending,approved")), 0, "open approvals")
        self.upstream.proof(call)


def calls_in(log):
    """(name, arguments) of the tools/call requests in a record of lines."""
    for line in log.read_text().splitlines() if log.exists() else []:
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("method") == "tools/call":
            yield message["params"]["name"], message["params"].get("arguments")


class Files:
    name = "files"

    def __init__(self, stage):
        self.root, self.log = stage.dir / "files", stage.dir / "files.requests"
        self.root.mkdir()
        index = node_package("@modelcontextprotocol/server-filesystem/dist/index.js")
        self.config = {
            "name": self.name,
            "command": [python("tools"), str(FIXTURES / "tap.py"), str(self.log), node(), index, str(self.root)],
            "env": stage.upstream_env(),
            "policy": {
                "version": "1",
                "hide": ["directory_tree"],
                "tools": {
                    "list_directory": {"action": "allow"},
                    "edit_file": {"action": "deny", "reason": "Never edited in place."},
                    "move_file": {"action": "require_approval", "reason": "Moves cannot be undone."},
                    "create_directory": {"action": "require_approval", "approval": {"timeout": "3s"}},
                },
            },
        }

    def call(self, kind, word, _number):
        dir = self.root / word
        if kind == "gated":
            dir.mkdir(exist_ok=True)
            (dir / "a.txt").write_text(word)
            return {
                "do": "call", "name": "move_file",
                "arguments": {"source": f"{dir}/a.txt", "destination": f"{dir}/b.txt"},
            }  # fmt: skip
        if kind == "brief":
            return {"do": "call", "name": "create_directory", "arguments": {"path": str(dir)}}
        dir.mkdir(exist_ok=True)
        name, more = {
            "allowed": ("list_directory", {}),
            "denied": ("edit_file", {"edits": []}),
            "hidden": ("directory_tree", {}),
        }[kind]
        return {"do": "call", "name": name, "arguments": {"path": str(dir), **more}}

    def executed(self, call):
        return list(calls_in(self.log)).count((call["name"], call["arguments"]))

    def proof(self, call):
        source, destination = call["arguments"]["source"], call["arguments"]["destination"]
        expect(not os.path.exists(source) and os.path.exists(destination), "the file was moved")


class Everything:
    name, transport, path = "everything", "streamableHttp", "/mcp"

    def __init__(self, stage):
        port, self.log = free_port(), stage.dir / f"{self.name}.requests"
        index = node_package("@modelcontextprotocol/server-everything/dist/index.js")
        argv = [node(), "--require", FIXTURES / "loopback.cjs", index, self.transport]
        process = stage.start(argv, self.name, env={"PORT": str(port), "REQUEST_LOG": str(self.log)})
        stage.wait_port(port, process, "server-everything")
        self.config = {
            "name": self.name,
            "url": f"http://127.0.0.1:{port}{self.path}",
            "policy": {
                "version": "1",
                "hide": ["get-tiny-image"],
                "tools": {
                    "echo": {"action": "allow"},
                    "get-env": {"action": "deny", "reason": "The environment is nobody's business."},
                    "get-sum": {"action": "require_approval"},
                    "get-resource-links": {"action": "require_approval", "approval": {"timeout": "3s"}},
                },
            },
        }

    def call(self, kind, word, number):
        name, arguments = {
            "allowed": ("echo", {"message": word}),
            "denied": ("get-env", {"word": word}),
            "hidden": ("get-tiny-image", {"word": word}),
            "gated": ("get-sum", {"a": number, "b": 5}),
            "brief": ("get-resource-links", {"count": number}),
        }[kind]
        return {"do": "call", "name": name, "arguments": arguments}

    def executed(self, call):
        return list(calls_in(self.log)).count((call["name"], call["arguments"]))

    def proof(self, call):
        pass


def run(report):
    with Stage(report) as stage:
        upstreams = [Files(stage), Everything(stage)]
        run_lanes(stage, report, CLIENTS, upstreams, [(c, u) for c in CLIENTS for u in upstreams])


def run_lanes(stage, report, clients, upstreams, pairs):
    """Every case of these pairs of a client and an upstream."""
    broker = Placet(
        stage,
        [u.config for u in upstreams],
        agents=[{"name": "unused", "token": "unused-token-0123456789abc"}],
    )
    lanes = [Lane(broker, c, u, n + 1, clients) for n, (c, u) in enumerate(pairs)]
    broker.config["agents"] = [{"name": lane.agent, "token": lane.token} for lane in lanes]
    broker.write()
    broker.start()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(lane.cases, report) for lane in lanes]:
            done.result()
