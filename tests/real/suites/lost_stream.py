"""Official legacy clients whose connection is cut while their call waits: they come back by
themselves with Last-Event-ID, and the call ends as if nothing had happened."""

import contextlib
import json
import os
import socket
import subprocess
import threading

from harness import HERE, Placet, Stage, code_of, equal, expect, fixture_server, free_port, node, python, text_of

CLIENTS = {
    "ts1": (node, "client_ts1.mjs"),
    "ts2 legacy": (node, "client_ts2.mjs"),
    "py1": (lambda: python("mcp1"), "client_py1.py"),
    "py2 legacy": (lambda: python("mcp2"), "client_py2.py"),
}


class Wire:
    """A TCP relay to a port, whose connections can be cut."""

    def __init__(self, stage, port):
        self.target, self.pairs = port, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        stage.closers.append(self.listener.close)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                here = self.listener.accept()[0]
                there = socket.create_connection(("127.0.0.1", self.target))
                self.pairs.append((here, there))
                for ends in ((here, there), (there, here)):
                    threading.Thread(target=self.carry, args=ends, daemon=True).start()

    @staticmethod
    def carry(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for end in (end for pair in pairs for end in pair):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Call:
    """One gated call of one client, over a wire."""

    def __init__(self, stage, broker, wire, client, word):
        self.broker, self.wire, self.word = broker, wire, word
        program, script = CLIENTS[client]
        command = {"do": "call", "name": "greet", "arguments": {"name": word}, "timeout": 50}
        url = f"http://127.0.0.1:{self.wire.port}/mcp/suite"
        self.process = subprocess.Popen(
            [program(), str(HERE / "clients" / script), url, "local-needs-none", "legacy", json.dumps([command])],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        stage.processes.append(self.process)
        self.id = broker.pending({"name": word})["id"]

    def lose(self):
        self.wire.cut()
        self.broker.not_waiting(self.id)

    def is_back(self):
        self.broker.waiting(self.id)

    def ends_well(self):
        out, err = self.process.communicate(timeout=40)
        expect(self.process.returncode == 0, f"the client fails: {err[-600:]}")
        answer = json.loads(out.splitlines()[-1])[0]
        expect("ok" in answer, f"the client got no result: {answer}")
        equal(code_of(answer["ok"]), "approved", f"the decision ({text_of(answer['ok'])})")
        expect(f"Hello, {self.word}!" in text_of(answer["ok"]), text_of(answer["ok"]))
        equal(self.broker.state(self.id, "completed")["id"], self.id, "the approval that ran")


def run(report):
    with Stage(report) as stage:
        port = free_port()
        server = stage.start([fixture_server(), port], "fixture")
        stage.wait_port(port, server, "the fixture server")
        policy = {"version": "1", "tools": {"greet": {"action": "require_approval"}}}
        upstream = {"name": "suite", "url": f"http://127.0.0.1:{port}/mcp", "era": "legacy", "policy": policy}
        broker = Placet(stage, [upstream], agents=[])
        wire = Wire(stage, broker.port)
        broker.config["server"]["allowed_hosts"] = [f"127.0.0.1:{wire.port}"]
        broker.write()
        broker.start()
        for client in CLIENTS:
            with report.case(f"{client}: cut, back, approved: it gets the result"):
                call = Call(stage, broker, wire, client, f"back-{client}")
                call.lose()
                call.is_back()
                broker.decide(call.id)
                call.ends_well()
            with report.case(f"{client}: approved while the connection is away: it runs when the client is back"):
                call = Call(stage, broker, wire, client, f"away-{client}")
                call.lose()
                broker.decide(call.id)
                call.ends_well()
        equal([a for a in broker.approvals() if a["state"] != "completed"], [], "approvals that did not complete")
