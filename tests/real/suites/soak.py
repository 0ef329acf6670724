"""Clients, reviewers and servers that do anything at any moment, for 20 s, and under
PLACET_REAL_SLOW for ten minutes: at the end nothing is held, nothing leaks, every approval is in a
true state and nothing ran that was not approved, or twice.

What they do comes from a seed, printed and settable with PLACET_REAL_SEED; when it happens is the
machine's.
"""

import collections
import contextlib
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
import time

from harness import ADMIN, ANA, FIXTURES, Placet, Stage, equal, expect, until

SLOW = bool(os.environ.get("PLACET_REAL_SLOW"))
SECONDS = 600 if SLOW else 20
WARM_UP = 20 if SLOW else 5
CALLERS = 12
SEED = int(os.environ.get("PLACET_REAL_SEED") or random.randrange(1 << 32))
PAGES = {"elicitation": {"url": {}}}
POLICY = {
    "version": "1",
    "tools": {"work": {"action": "require_approval"}, "peek": {"action": "allow"}},
}
# Short, so that every deadline is met by somebody.
LIMITS = {
    "timeout": "6s", "hold": "3s", "hold_with_progress": "4s", "heartbeat": "500ms", "claim_window": "4s",
    "cooldown": "1s", "task_poll_interval": "1s", "max_new_per_agent": {"max": 100000, "window": 60},
}  # fmt: skip


class Files:
    """What the servers themselves wrote down."""

    def __init__(self, dir):
        self.dir = dir

    def count(self, name):
        file = self.dir / name
        return collections.Counter(file.read_text().splitlines() if file.exists() else [])


class Process:
    """What the kernel knows of the broker's process."""

    def __init__(self, pid):
        self.proc = f"/proc/{pid}"

    def descriptors(self):
        kinds = collections.Counter()
        for fd in os.listdir(f"{self.proc}/fd"):
            with contextlib.suppress(OSError):
                kinds[os.readlink(f"{self.proc}/fd/{fd}").split(":")[0].split("/")[-1]] += 1
        return kinds

    def children(self):
        found = []
        for task in os.listdir(f"{self.proc}/task"):
            with contextlib.suppress(OSError), open(f"{self.proc}/task/{task}/children") as file:
                found += map(int, file.read().split())
        return found

    def status(self, key):
        with open(f"{self.proc}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(f"{key}:"))


class Soak:
    def __init__(self, stage):
        self.http = stage.slow_upstream()
        child = stage.dir / "child"
        child.mkdir()
        command = [sys.executable, "-B", str(FIXTURES / "soak_stdio.py"), str(child)]
        upstreams = [
            {"name": "http", "url": self.http.url, "policy": POLICY},
            {"name": "child", "command": command, "env": stage.upstream_env(), "policy": POLICY},
        ]
        self.agents = [f"agent-{n}" for n in range(3)]
        agents = [{"name": name, "token": self.token(name)} for name in self.agents]
        agents[2]["on_disconnect"] = "withdraw"
        self.broker = Placet(stage, upstreams, agents=agents, approvals=LIMITS).start()
        self.process = Process(self.broker.process.pid)
        self.records = {"http": Files(self.http.dir), "child": Files(child)}
        self.stop, self.did = threading.Event(), collections.Counter()
        self.problems, self.left = [], collections.Counter()

    def token(self, name):
        return f"{name}-token-0123456789abc"

    # Those who do things

    def actor(self, seed, act):
        chance = random.Random(seed)

        def run():
            while not self.stop.is_set():
                try:
                    act(chance)
                except Exception as error:  # an actor is no judge: what it meets is looked at below
                    self.problems.append(f"{act.__name__}: {type(error).__name__}: {error}")
                    time.sleep(0.1)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def caller(self, chance):
        era = chance.choice(["modern", "legacy"])
        agent = chance.choice(self.agents)
        # A legacy client says at the start whether it opens pages, a modern one with each call.
        declares = PAGES if era == "legacy" and chance.random() < 0.3 else None
        upstream = chance.choice(["http", "child"])
        mcp = self.broker.mcp(upstream, self.token(agent), era=era, declares=declares)
        if chance.random() < 0.2:
            mcp.headers["Accept"] = "application/json"
        try:
            for _ in range(chance.randrange(1, 4)):
                if not self.stop.is_set():
                    self.one_call(chance, mcp)
        finally:
            # Some are left behind, as by clients that never end theirs.
            if era == "legacy" and self.left[agent] < 10 and chance.random() < 0.3:
                self.left[agent] += 1
            elif era == "legacy":
                mcp.send(None, method="DELETE")

    def one_call(self, chance, mcp):
        if chance.random() < 0.25:
            self.one_task(chance, mcp)
            return
        if mcp.era == "modern" and chance.random() < 0.2:
            self.one_page(chance, mcp)
            return
        tool = "peek" if chance.random() < 0.3 else "work"
        arguments = self.arguments(chance, mcp)
        meta = {"progressToken": chance.randrange(100)} if chance.random() < 0.5 else None
        call = mcp.begin_call(tool, arguments, meta=meta, timeout=30)
        ways = [self.waits, self.waits, self.leaves, self.half_closes, self.resets]
        way = chance.choice(ways + ([self.cancels] if mcp.era == "legacy" else []))
        self.did[f"{tool} {mcp.era} {way.__name__}"] += 1
        way(chance, mcp, call)

    def waits(self, _chance, _mcp, call):
        call.join(20)
        expect(not call.is_alive(), "no answer within 20 s")
        if self.stop.is_set():
            return
        expect(call.error is None, f"the connection broke: {call.error!r}")
        expect(call.status == 200 and call.answer is not None, f"HTTP {call.status} without an answer: {call.raw[:200]}")

    def leaves(self, chance, _mcp, call):
        call.join(chance.random() * 2)
        call.abandon()

    def half_closes(self, chance, _mcp, call):
        """Says that it sends no more, but goes on reading: whatever comes of it is no error."""
        time.sleep(chance.random() * 0.5)
        with contextlib.suppress(OSError, AttributeError):
            call.connection.sock.shutdown(socket.SHUT_WR)
        call.join(chance.random() * 2)
        call.abandon()

    def resets(self, chance, _mcp, call):
        """A reset in place of an orderly end."""
        call.join(chance.random() * 2)
        with contextlib.suppress(OSError, AttributeError):
            call.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        call.abandon()

    def cancels(self, chance, mcp, call):
        id = mcp.ids
        call.join(chance.random() * 2)
        note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}
        mcp.send(json.dumps(note))
        call.join(20)
        expect(not call.is_alive(), "a cancelled request ends")

    def one_task(self, chance, mcp):
        """Follows a call as a task for a while: to its end, or until it is cancelled or forgotten."""
        params = {"name": "work", "arguments": self.arguments(chance, mcp), **self.wants_task(mcp)}
        answer = mcp.begin("tools/call", params, 30).result(20)
        result = answer.get("result") or {}
        task = result.get("task") or (result if result.get("resultType") == "task" else None)
        if not task:
            self.did[f"task {mcp.era} answered at once"] += 1
            return
        following = {"taskId": task["taskId"], **({} if mcp.era == "legacy" else self.wants_task(mcp))}
        looks, cancels = chance.randrange(12), chance.random() < 0.3
        for _ in range(looks):
            if self.stop.wait(chance.random()):
                return
            look = mcp.begin("tasks/get", following, 30).result(20)
            status = (look.get("result") or {}).get("status")
            expect(status is not None, f"a look at a living task: {look}")
            if status != "working":
                if mcp.era == "legacy" and status != "cancelled":
                    told = mcp.begin("tasks/result", following, 30).result(20)
                    expect("result" in told, f"the result of a task that is {status}: {told}")
                self.did[f"task {mcp.era} {status}"] += 1
                return
        if cancels:
            # The task may have come to its end meanwhile.
            mcp.begin("tasks/cancel", following, 30).result(20)
        elif mcp.era == "legacy" and chance.random() < 0.3:
            waiting = mcp.begin("tasks/result", following, 30)
            waiting.join(chance.random() * 2)
            waiting.abandon()
        self.did[f"task {mcp.era} {'cancelled' if cancels else 'forgotten'}"] += 1

    def one_page(self, chance, mcp):
        """Is sent to the page of its call, and waits on in rounds until it has enough."""
        meta = {"io.modelcontextprotocol/clientCapabilities": PAGES}
        params = {"name": "work", "arguments": self.arguments(chance, mcp), "_meta": meta}
        for round in range(10):
            call = mcp.begin("tools/call", params, 30)
            if chance.random() < 0.1:
                self.leaves(chance, mcp, call)
                self.did["page left"] += 1
                return
            result = call.result(20).get("result") or {}
            if result.get("resultType") != "input_required":
                self.did["page answered" if round else "page held"] += 1
                return
            if chance.random() < 0.1:
                self.did["page forgotten"] += 1
                return
            action = chance.choice(["accept", "accept", "accept", "decline", "cancel"])
            answers = {"inputResponses": {"approval": {"action": action}}} if "inputRequests" in result else {}
            params = {**params, **answers, "requestState": result["requestState"]}
            time.sleep(chance.random())
        expect(False, "the rounds never end")

    def wants_task(self, mcp):
        if mcp.era == "legacy":
            return {"task": {}}
        declared = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
        return {"_meta": {"io.modelcontextprotocol/clientCapabilities": declared}}

    def arguments(self, chance, mcp):
        # From a small stock, so that the same call often comes again or comes twice at once.
        return {"id": f"{mcp.path}-{chance.randrange(40)}", "seconds": chance.choice([0, 0, 0.2, 1])}

    def rude(self, chance):
        """Half a request, and gone; or a stream of a session that nobody reads."""
        time.sleep(chance.random())
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.broker.port), 5) as s:
            head = f"POST /mcp/http HTTP/1.1\r\nHost: 127.0.0.1:{self.broker.port}\r\nContent-Length: 900\r\n"
            head += f"Content-Type: application/json\r\nAuthorization: Bearer {self.token('agent-0')}\r\n\r\n{{"
            s.sendall(head[: chance.randrange(1, len(head))].encode())
            time.sleep(chance.random() * 2)

    def reviewer(self, chance):
        time.sleep(chance.random() * 0.3)
        pending = self.broker.approvals(state="pending")
        for approval in chance.sample(pending, min(len(pending), 6)):
            decision = chance.choice(["approve", "approve", "approve", "reject", None])
            if decision:
                body = {"decision": decision, "reason": "chance"}
                status = self.broker.api("POST", f"/approvals/{approval['id']}/decision", body, token=ANA).status
                # 409: somebody or the clock was first.
                expect(status in (200, 409), f"a decision is answered {status}")
                self.did[f"{decision} {status}"] += 1
        if chance.random() < 0.2:
            for approval in self.broker.approvals(state="approved")[:1]:
                path = f"/approvals/{approval['id']}/cancel"
                status = self.broker.api("POST", path, {"reason": "chance"}, token=ADMIN).status
                expect(status in (200, 409), f"a withdrawal is answered {status}")
                self.did[f"withdraw {status}"] += 1

    def watcher(self, chance):
        """Follows the events for a while."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.broker.port), 5) as s:
            head = f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{self.broker.port}\r\n"
            s.sendall(f"{head}Authorization: Bearer {ANA}\r\n\r\n".encode())
            s.settimeout(chance.random() * 2)
            while not self.stop.is_set() and s.recv(65536):
                pass

    def killer(self, chance):
        """Ends the upstream's children, as a crash would."""
        self.stop.wait(2 + chance.random() * 4)
        for child in self.process.children():
            if chance.random() < 0.5:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                self.did["killed a child"] += 1

    def run(self, seed, seconds):
        chance = random.Random(seed)
        self.stop.clear()
        acts = [self.caller] * CALLERS + [self.reviewer, self.rude, self.watcher, self.killer]
        actors = [self.actor(chance.random(), act) for act in acts]
        self.stop.wait(seconds)
        self.stop.set()
        for actor in actors:
            actor.join(30)
        expect(not any(a.is_alive() for a in actors), "every actor comes to an end")
        self.settles()

    # What is looked at

    def settles(self):
        """Nobody calls any more: everything pending expires, everything running ends."""
        wanted = "pending,approved,running"
        until(lambda: not self.broker.approvals(state=wanted), 40, "every approval ends by itself")

    def level(self):
        """What is open once it is quiet: connections that are kept for a while go by themselves.

        A living child has three pipes and a pidfd, which are its own and no leak: a child that was killed at the end
        of the warm-up is away then and back later. How many children there may be is looked at by itself.
        """
        descriptors, children = self.process.descriptors(), len(self.process.children())
        descriptors.subtract({"pipe": 3 * children, "anon_inode": children})
        return descriptors, self.process.status("Threads"), self.process.status("VmRSS"), children

    def every_approval(self):
        found, cursor = [], None
        while True:
            query = {"cursor": cursor} if cursor else {}
            path = "&".join(f"{k}={v}" for k, v in query.items())
            page = self.broker.api("GET", f"/approvals?limit=200&{path}", status=200).json()
            found += page["approvals"]
            cursor = page["next_cursor"]
            if not cursor:
                return found


def run(report):
    print(f"soak: seed {SEED}", flush=True)
    with Stage(report) as stage:
        soak = Soak(stage)
        before = None
        with report.case(f"{WARM_UP} s of warm-up come to rest"):
            soak.run(SEED, WARM_UP)
            before = soak.level()
        with report.case(f"{SECONDS} s of calls, cancels, losses, decisions and crashed children come to rest"):
            soak.run(SEED + 1, SECONDS)
            print(f"soak: {dict(sorted(soak.did.items()))}", flush=True)
            expect(not soak.problems, f"{len(soak.problems)} surprises: {soak.problems[:5]}")
        with report.case("nothing is held and nobody is said to wait"):
            equal(soak.broker.held_requests(), 0, "placet_held_requests")
            waiting = [a["id"] for a in soak.every_approval() if a["waiting"]]
            expect(not waiting, f"said to be waited for: {waiting}")
        with report.case("descriptors, children, threads and memory are back at their level"):
            back_at(soak, before)
        with report.case("every approval is in a true state, and nothing ran twice or unapproved"):
            truth(soak)
        with report.case("the broker ends with 0, and the audit's chain holds"):
            expect(soak.broker.stop() == 0, "exit code")
            verified = soak.broker.command("audit", "verify")
            expect(verified.returncode == 0 and verified.stdout.startswith("ok:"), verified.stdout + verified.stderr)


def back_at(soak, before):
    fds, threads, memory, children = before

    def settled():
        now, _, _, kids = soak.level()
        return all(now[k] <= fds[k] + 3 for k in now) and kids <= max(children, 6)

    try:
        until(settled, 60, "descriptors and children")
    except AssertionError as late:
        raise AssertionError(f"{late}: {dict(fds)} and {children} became {dict(soak.level()[0])} and "
                             f"{soak.level()[3]}") from None  # fmt: skip
    _, threads_now, memory_now, _ = soak.level()
    expect(threads_now <= threads + 16, f"threads: {threads}, then {threads_now}")
    expect(memory_now <= memory * 1.5 + 64 * 1024, f"resident: {memory} KiB, then {memory_now} KiB")
    print(f"soak: descriptors {sum(fds.values())} to {sum(soak.level()[0].values())}, threads {threads} to "
          f"{threads_now}, resident {memory} to {memory_now} KiB", flush=True)  # fmt: skip


def truth(soak):
    by_call = collections.defaultdict(collections.Counter)
    for approval in soak.every_approval():
        state = approval["state"]
        by_call[approval["upstream"], approval["arguments"]["id"]][state] += 1
        approved = any(d["decision"] == "approve" for d in approval["decisions"])
        expect(approved or state not in ("completed", "indeterminate"), f"{approval['id']} is {state}, unapproved")
    kinds = sum(by_call.values(), collections.Counter())
    print(f"soak: {sum(kinds.values())} approvals: {dict(sorted(kinds.items()))}", flush=True)
    ends = {"completed", "rejected", "expired", "cancelled", "indeterminate"}
    expect(set(kinds) <= ends, f"states at the end: {dict(kinds)}")
    for upstream, files in soak.records.items():
        started, finished = files.count("started"), files.count("finished")
        for call in {id for u, id in by_call if u == upstream} | set(started):
            states = by_call[upstream, call]
            most = states["completed"] + states["indeterminate"]
            expect(states["completed"] <= finished[call], f"{call}: {states} but finished {finished[call]} times")
            expect(started[call] <= most, f"{call}: {states} but started {started[call]} times")
