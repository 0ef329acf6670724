"""Requests that end otherwise than by their answer: cancelled, closed, killed, cut off, shut down.

What each leaves is looked at: the approval's state, who is said to wait, what ran, and what the
same call gets when it comes again.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

from harness import (
    AGENT, FIXTURES, HERE, Failed, Placet, Stage, binary, code_of, decision_of, equal, expect, python, text_of, until,
)  # fmt: skip

HEARTBEAT = 2
# What the promise of two heartbeats leaves for a poll of the test and a busy machine.
TWO_HEARTBEATS = 2 * HEARTBEAT + 0.5
CAREFUL = "careful-token-0123456789abcdef"
POLICY = {
    "version": "1",
    "tools": {"work": {"action": "require_approval"}, "peek": {"action": "allow"}, "brief": {"action": "allow"}},
}


def run(report):
    with Stage(report) as stage:
        upstream = stage.slow_upstream()
        config = [{"name": "slow", "url": upstream.url, "policy": POLICY}]
        agents = [
            {"name": "agent", "token": AGENT},
            {"name": "careful", "token": CAREFUL, "on_disconnect": "withdraw"},
        ]
        limits = {"heartbeat": f"{HEARTBEAT}s", "max_new_per_agent": {"max": 500, "window": 60}}
        broker = Placet(stage, config, agents=agents, approvals=limits)
        # Reachable from a network namespace; that it is not loopback alone changes nothing else.
        broker.config["server"] |= {"listen": f"0.0.0.0:{broker.port}", "allowed_hosts": [f"{HALF_OPEN_HOST}:{broker.port}"]}
        broker.write()
        broker.start()
        losses = Losses(report, broker, upstream)
        for way in ("cancelled", "closed"):
            for era in ("legacy", "modern"):
                if (way, era) != ("cancelled", "modern"):
                    losses.while_pending(way, era)
                    losses.while_running(way, era)
        losses.withdrawn()
        losses.killed()
        for way in ("killed with SIGKILL", "left by its client"):
            losses.bridge(way)
        half_open(report, losses)
        losses.shut_down()
        for era in ("legacy", "modern"):
            losses.followed(era)


class Losses:
    def __init__(self, report, broker, upstream):
        self.report, self.broker, self.upstream = report, broker, upstream

    def lose(self, way, mcp, call):
        if way == "closed":
            call.abandon()
            return
        answer = mcp.send(json.dumps({
            "jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": {"requestId": mcp.ids, "reason": "changed my mind"},
        }))  # fmt: skip
        equal(answer.status, 202, "status of notifications/cancelled")

    def detached(self, id, since, seconds=TWO_HEARTBEATS):
        """Nobody waits any more, in time."""
        left = seconds - (time.monotonic() - since)
        self.broker.not_waiting(id, max(left, 0.2))

    def comes_back(self, mcp, arguments, id):
        """The identical call after an approval that nobody waited for."""
        self.broker.decide(id)
        self.broker.state(id, "approved")
        time.sleep(0.5)
        equal(self.upstream.started(arguments["id"]), 0, "executions with nobody waiting")
        answer = mcp.call("work", arguments)
        equal((text_of(answer), decision_of(answer)["approval"]), (f"did work {arguments['id']}", id), "the answer")
        equal(self.upstream.started(arguments["id"]), 1, "executions")

    def while_pending(self, way, era):
        with self.report.case(f"{era}, {way} while pending: detached at once, decidable, runs for the next call"):
            mcp = self.broker.mcp("slow", era=era)
            arguments = {"id": f"pending-{way}-{era}"}
            call, id = mcp.held("work", arguments)
            self.lose(way, mcp, call)
            self.detached(id, time.monotonic())
            call.join(5)
            expect(not call.is_alive(), "the request ends")
            equal((call.answer, call.events), (None, []), "what was sent on it")
            equal(self.broker.approval(id)["state"], "pending", "the state")
            self.comes_back(mcp, arguments, id)

    def while_running(self, way, era):
        with self.report.case(f"{era}, {way} while running: not aborted, its outcome is owed once"):
            mcp = self.broker.mcp("slow", era=era)
            arguments = {"id": f"running-{way}-{era}", "seconds": 2}
            call, id = mcp.held("work", arguments)
            self.broker.decide(id)
            self.broker.state(id, "running")
            self.lose(way, mcp, call)
            self.broker.state(id, "completed")
            equal(self.upstream.finished(arguments["id"]), 1, "executions to the end")
            expect(call.answer is None, "nothing was sent on it")
            told = mcp.call("work", arguments)
            equal(text_of(told), f"did work {arguments['id']}", "the answer")
            equal((decision_of(told)["approval"], decision_of(told)["replayed"]), (id, True), "the decision")
            again, second = mcp.held("work", arguments)
            expect(second != id, "told once, the call is asked anew")
            self.lose(way, mcp, again)
            self.broker.decide(second, "reject")
            equal(self.upstream.started(arguments["id"]), 1, "executions")

    def withdrawn(self):
        with self.report.case("an agent that wants it: withdrawn when the last of two requests is left, and told once"):
            mcp = self.broker.mcp("slow", CAREFUL)
            arguments = {"id": "withdrawn"}
            first, id = mcp.held("work", arguments)
            second = self.broker.mcp("slow", CAREFUL, era="legacy").begin_call("work", arguments)
            until(lambda: second.status == 200, 5, "the second is held too")
            first.abandon()
            time.sleep(0.5)
            equal(self.broker.approval(id)["state"], "pending", "with one of two left")
            second.abandon()
            self.broker.state(id, "cancelled", TWO_HEARTBEATS)
            told = mcp.call("work", arguments)
            equal((code_of(told), decision_of(told)["approval"]), ("approval_cancelled", id), "the answer")

    def killed(self):
        for name, venv, program in (("mcp 1.30", "mcp1", "client_py1.py"), ("mcp 2.3", "mcp2", "client_py2.py")):
            with self.report.case(f"{name} killed with SIGKILL: detached within two heartbeats, runs for the next call"):
                arguments = {"id": f"killed-{venv}"}
                command = {"do": "call", "name": "work", "arguments": arguments, "timeout": None}
                client = subprocess.Popen(
                    [python(venv), HERE / "clients" / program, f"{self.broker.url}/mcp/slow", AGENT, "auto",
                     json.dumps([command])],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                )  # fmt: skip
                try:
                    id = self.broker.pending(arguments, 30)["id"]
                finally:
                    client.kill()
                    client.wait()
                self.detached(id, time.monotonic())
                equal(self.broker.approval(id)["state"], "pending", "the state")
                self.comes_back(self.broker.mcp("slow"), arguments, id)

    def bridge(self, way):
        with self.report.case(f"placet stdio {way}: detached within two heartbeats, runs for the next call"):
            arguments = {"id": f"bridge-{way[:4]}"}
            mcp = self.broker.mcp("slow")
            body, _ = mcp.envelope("tools/call", {"name": "work", "arguments": arguments})
            bridge = subprocess.Popen(
                [binary(), "stdio", "--upstream", "slow", "--server", self.broker.url],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                env={**os.environ, "PLACET_AGENT_TOKEN": AGENT},
            )  # fmt: skip
            try:
                bridge.stdin.write(json.dumps(body) + "\n")
                bridge.stdin.flush()
                id = self.broker.pending(arguments)["id"]
                if way.startswith("killed"):
                    bridge.kill()
                else:
                    bridge.stdin.close()
                # Its own last answers take no time here: nothing is on its way.
                since = time.monotonic()
                self.detached(id, since)
                expect("result" not in bridge.stdout.read(), "no answer came of it")
            finally:
                bridge.kill()
                bridge.wait()
            self.comes_back(mcp, arguments, id)

    def shut_down(self):
        with self.report.case("SIGTERM with 50 held requests of mixed kinds: all handed over in time, exit 0"):
            calls, wanted = self.fifty()
            # One that ends within the grace, and its result is worth waiting for.
            running = self.broker.mcp("slow").begin_call("work", {"id": "ends-in-time", "seconds": 3})
            id = self.broker.pending({"id": "ends-in-time", "seconds": 3})["id"]
            self.broker.decide(id)
            self.broker.state(id, "running")
            began = time.monotonic()
            code = self.broker.stop(20)
            took = time.monotonic() - began
            equal(code, 0, "exit code")
            # shutdown_grace is 10 s; held calls need none of it.
            expect(took < 10, f"it took {took:.1f} s")
            for kind, call in calls:
                answer = call.result(5)
                equal((answer["result"]["isError"], code_of(answer)), (True, "approval_pending"), kind)
                expect("not executed" in text_of(answer).lower(), text_of(answer))
                expect(decision_of(answer)["approval"] in wanted, f"{kind}: its approval is named")
            equal(text_of(running.result(5)), "did work ends-in-time", "the running one's answer")
        with self.report.case("after the next start they are pending, nobody waits, and one runs when its agent is back"):
            self.broker.start()
            now = {a["id"]: a for a in self.broker.approvals(state="pending") if a["id"] in wanted}
            equal(len(now), len(wanted), "pending approvals")
            equal([a["id"] for a in now.values() if a["waiting"]], [], "still said to be waited for")
            first = next(id for id, arguments in wanted.items() if arguments["id"] == "fifty-0")
            self.comes_back(self.broker.mcp("slow"), wanted[first], first)
            for id, arguments in wanted.items():
                equal(self.upstream.started(arguments["id"]), int(id == first), arguments["id"])

    def followed(self, era):
        with self.report.case(f"{era}: a task outlives SIGTERM and kill -9, and runs once for who follows it"):
            declared = {"io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}}
            own = {"task": {}} if era == "legacy" else {"_meta": declared}
            arguments = {"id": f"followed-{era}"}
            mcp = self.broker.mcp("slow", era=era)
            made = mcp.begin("tools/call", {"name": "work", "arguments": arguments, **own}).result()["result"]
            following = {"taskId": (made.get("task") or made)["taskId"], **({} if era == "legacy" else own)}
            waiting = mcp.begin("tasks/result", following) if era == "legacy" else None
            if waiting:
                # Its stream begins as soon as it waits.
                until(lambda: waiting.status == 200, 5, "tasks/result waits")
            equal(self.broker.stop(20), 0, "exit code")
            if waiting:
                expect("ask again" in waiting.result(5)["error"]["message"], "who waited is told to ask again")
            self.broker.start()
            self.broker.kill9()
            self.broker.start()
            mcp = self.broker.mcp("slow", era=era)
            id = self.broker.pending(arguments)["id"]

            def look():
                return mcp.begin("tasks/get", following).result()["result"]

            equal(look()["status"], "working", "the task")
            self.broker.decide(id)
            done = until(lambda: (now := look())["status"] == "completed" and now, 20, "the task is completed")
            if era == "legacy":
                done = mcp.begin("tasks/result", following).result()
            equal(text_of(done["result"]), f"did work followed-{era}", "its result")
            equal(self.upstream.started(arguments["id"]), 1, "executions")

    def fifty(self):
        """Fifty held requests: (kind, call) each, and the approvals they wait for."""
        calls, wanted = [], {}
        old, careful = self.broker.mcp("slow", era="legacy"), self.broker.mcp("slow", CAREFUL)
        plain = self.broker.mcp("slow")
        plain.headers["Accept"] = "application/json"
        kinds = [
            ("modern", self.broker.mcp("slow"), {}),
            ("modern with progress", self.broker.mcp("slow"), {"meta": {"progressToken": "p"}}),
            ("legacy", old, {}),
            ("legacy with progress", old, {"meta": {"progressToken": 7}}),
            ("without a stream", plain, {}),
            ("withdrawing", careful, {}),
        ]
        for n in range(48):
            kind, mcp, more = kinds[n % len(kinds)]
            arguments = {"id": f"fifty-{n}"}
            calls.append((kind, mcp.begin_call("work", arguments, **more)))
            wanted[arguments["id"]] = arguments
        for _ in range(2):
            calls.append(("attached", self.broker.mcp("slow").begin_call("work", {"id": "fifty-0"})))

        def all_held():
            held = [a for a in self.broker.approvals(state="pending") if a["arguments"]["id"] in wanted]
            return held if len(held) == 48 and all(a["waiting"] for a in held) else None

        held = until(all_held, 30, "all are held")
        until(lambda: self.broker.held_requests() >= 50, 10, "the two that join the first are held")
        return calls, {a["id"]: a["arguments"] for a in held}


# Half-open

HALF_OPEN_HOST = "10.231.77.1"
PEER = "10.231.77.2"


@contextlib.contextmanager
def cable(name):
    """A network namespace on the far end of a cable; gives what pulls the far plug."""

    def ip(*args, quiet=False):
        subprocess.run(["ip", *args], check=not quiet, capture_output=True, text=True)

    near, far = f"{name}-a", f"{name}-b"
    try:
        ip("netns", "add", name)
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        ip("addr", "add", f"{HALF_OPEN_HOST}/30", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", name, "addr", "add", f"{PEER}/30", "dev", far)
        ip("-n", name, "link", "set", far, "up")
        yield lambda: ip("-n", name, "link", "set", far, "down")
    finally:
        ip("link", "del", near, quiet=True)
        ip("netns", "del", name, quiet=True)


def why_not():
    if os.geteuid() != 0:
        return "needs root for a network namespace"
    if not shutil.which("ip"):
        return "needs iproute2"
    return None


def half_open(report, losses):
    kinds = [("modern", {}), ("modern, without a stream", {"Accept": "application/json"}), ("legacy", {})]
    for number, (kind, headers) in enumerate(kinds):
        name = f"{kind}: the client's cable is pulled: detached within two heartbeats, runs for the next call"
        why = why_not()
        if why:
            report.skip(name, why)
            continue
        with contextlib.ExitStack() as rig:
            try:
                pull = rig.enter_context(cable(f"plct{os.getpid() % 10000}{number}"))
            except subprocess.CalledProcessError as error:
                report.skip(name, f"no network namespace here: {error.stderr.strip()}")
                continue
            with report.case(name):
                cut_off(losses, kind, headers, pull, f"plct{os.getpid() % 10000}{number}")


def cut_off(losses, kind, headers, pull, namespace):
    broker = losses.broker
    mcp = broker.mcp("slow", era=kind.split(",")[0])
    arguments = {"id": f"cut-{namespace}"}
    body, own = mcp.envelope("tools/call", {"name": "work", "arguments": arguments})
    client = subprocess.Popen(
        ["ip", "netns", "exec", namespace, sys.executable, "-B", FIXTURES / "hold_open.py",
         f"http://{HALF_OPEN_HOST}:{broker.port}{mcp.path}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        client.stdin.write(json.dumps({**own, **headers}) + "\n" + json.dumps(body) + "\n")
        client.stdin.flush()
        try:
            id = broker.pending(arguments)["id"]
        except Failed:
            client.kill()
            raise Failed(f"the client fails: {client.communicate()[0][-300:]}") from None
        # Past a heartbeat, so that the connection is known to have worked.
        time.sleep(HEARTBEAT * 1.5)
        expect(broker.approval(id)["waiting"], "somebody waits before the cable is pulled")
        pull()
        since = time.monotonic()
        losses.detached(id, since)
        equal(broker.approval(id)["state"], "pending", "the state")
        losses.comes_back(broker.mcp("slow"), arguments, id)
    finally:
        client.kill()
        client.wait()
