"""Client by hold mode by outcome: real clients with their default timers against a slow approver.

Plain, a reviewer takes 3 s and not every outcome is tried everywhere; under PLACET_REAL_SLOW
90 s, which is more than the 60 s many clients allow a call. A cell holds if the user of the client
sees the tool's true result (or, plainly, why there is none) and no error, and the upstream's own
record says that the call ran once, or not at all. Where a call is handed over, or the client's own
timer ends it, the driver does what a model does: it calls again with the same arguments; the
cell's name says so. PLACET_REAL_MATRIX runs only the lanes with that text in their name.
"""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import time

from harness import HERE, Placet, Stage, code_of, decision_of, equal, expect, node, python, setting, text_of, until

SLOW = bool(os.environ.get("PLACET_REAL_SLOW"))
DELAY = 90 if SLOW else 3
# Slow, the default; plain, so short that it ends before the reviewer speaks.
HOLD = "50s" if SLOW else "2s"
PATIENT = "10m"


def script(program, name):
    return lambda: [program(), str(HERE / "clients" / name)]


PY1 = script(lambda: python("mcp1"), "client_py1.py")
PY2 = script(lambda: python("mcp2"), "client_py2.py")
FASTMCP = script(lambda: python("fastmcp"), "client_fastmcp.py")
TS1, TS2 = script(node, "client_ts1.mjs"), script(node, "client_ts2.mjs")
INSPECTOR = script(lambda: sys.executable, "client_inspector.py")


def rmcp():
    return [setting("PLACET_REAL_RMCP")]


class Mode:
    """How a call is held: what the client asks for, what the agent is allowed, what must show."""

    def __init__(self, words, command=None, features="", agent=None, calls=None):
        self.words, self.command, self.features = words, command or {}, features
        self.agent, self.calls = agent or {}, calls


HANDED_OVER = {"hold": HOLD, "hold_with_progress": HOLD}
COMMENTS = Mode("held with comments, handed over, called again", agent=HANDED_OVER, calls=2)
PROGRESS = Mode("held with progress", {"progress": True}, agent={"hold_with_progress": PATIENT}, calls=1)
# Of clients that always send a token.
SHORT_PROGRESS = Mode("held with progress, handed over, called again", agent=HANDED_OVER, calls=2)
RESET = Mode("held with progress that resets its timer", {"progress": True, "reset": True},
             agent={"hold_with_progress": PATIENT}, calls=1)  # fmt: skip
# Its own default of 60 s; plain, as if that were 2 s.
TIMER = Mode("held with progress until its own timer fires, called again",
             {"progress": True, **({} if SLOW else {"timeout": 2})},
             agent={"hold_with_progress": PATIENT}, calls=2)  # fmt: skip
# The tasks of the client's era.
TASK = Mode("followed as a task", {"do": "task"}, calls=1)
# Of a client that makes tasks of its calls where the server knows them.
OWN_TASK = Mode("made a task by the client itself", calls=1)
# A client that opens pages for its user; it agrees to every one it is sent.
PAGES = Mode("declaring URL elicitation", features="elicit")

LANES = [
    ("mcp 1.30", PY1, "legacy", [COMMENTS, PROGRESS, PAGES, TASK]),
    ("mcp 2.3 legacy", PY2, "legacy", [COMMENTS, PROGRESS, PAGES]),
    ("mcp 2.3 auto", PY2, "auto", [COMMENTS, PROGRESS, PAGES]),
    ("sdk 1.32", TS1, "legacy", [COMMENTS, RESET, TIMER, PAGES, TASK]),
    ("client 2.4 legacy", TS2, "legacy", [COMMENTS, RESET, TIMER, PAGES]),
    ("client 2.4 auto", TS2, "auto", [COMMENTS, RESET, TIMER, PAGES]),
    ("ext-tasks 0.2 legacy", TS2, "legacy", [TASK]),
    ("ext-tasks 0.2 auto", TS2, "auto", [TASK]),
    ("inspector 2.12 legacy", INSPECTOR, "legacy", [COMMENTS]),
    ("inspector 2.12 modern", INSPECTOR, "modern", [OWN_TASK]),
    ("rmcp 3.11 legacy", rmcp, "legacy", [SHORT_PROGRESS, PROGRESS, PAGES]),
    ("rmcp 3.11 auto", rmcp, "auto", [SHORT_PROGRESS, PROGRESS, PAGES]),
    ("fastmcp 4.1 auto", FASTMCP, "auto", [SHORT_PROGRESS, PROGRESS, PAGES]),
]


class Lane:
    """One client in one mode, as an agent of its own."""

    def __init__(self, number, client, argv, era, mode):
        self.client, self.argv, self.era, self.mode = client, argv, era, mode
        self.agent = f"lane-{number}"
        self.token = f"{self.agent}-token-0123456789"
        self.name = f"{client}, {mode.words}"

    def settings(self):
        return {"name": self.agent, "token": self.token, **self.mode.agent}

    def start(self, arguments, tool="work"):
        """The client with one call that it repeats as often as it takes."""
        command = {"do": "call", "timeout": None, "again": 9, **self.mode.command, "name": tool, "arguments": arguments}
        url = f"{self.broker.url}/mcp/slow"
        return subprocess.Popen(
            [*self.argv(), url, self.token, self.era, json.dumps([command]), self.mode.features],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, start_new_session=True,
        )  # fmt: skip

    def answer(self, process):
        try:
            out, err = process.communicate(timeout=DELAY * 2 + 60)
        finally:
            self.kill(process)
        expect(process.returncode == 0, f"the client fails: {err[-600:]}")
        answer = json.loads(out.splitlines()[-1])[0]
        expect("error" not in answer, f"the client shows an error: {answer.get('error')}")
        return answer

    def kill(self, process):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def arguments(self, word):
        return {"id": f"{self.agent}-{word}"}

    def pending(self, arguments, process):
        """The approval that this client's call waits for."""

        def found():
            if process.poll() not in (None, 0):
                raise AssertionError(f"the client fails: {process.communicate()[1][-600:]}")
            waiting = self.broker.approvals(agent=self.agent, state="pending")
            return [a for a in waiting if a["arguments"] == arguments]

        return until(found, 60, f"{arguments} waits for approval")[0]["id"]

    def executed(self, arguments):
        return self.upstream.started(arguments["id"])

    def ran_once(self, arguments, answer, id):
        ok = answer["ok"]
        expect(not ok.get("isError"), f"it ran: {text_of(ok)}")
        equal(text_of(ok), f"did work {arguments['id']}", "the tool's own result")
        equal((code_of(ok), decision_of(ok)["approval"]), ("approved", id), "the decision")
        self.broker.state(id, "completed")
        equal(self.executed(arguments), 1, "executions")
        open_ones = self.broker.approvals(agent=self.agent, state="pending,approved,running")
        expect(not [a for a in open_ones if a["arguments"] == arguments], "nothing of it is open")

    def refused(self, answer, code):
        """What the client shows of a call that was not run."""
        ok = answer.get("ok")
        text = text_of(ok) if ok else answer["failed"]
        if ok:
            equal((ok["isError"], code_of(ok)), (True, code), f"the answer ({text})")
        expect(text.startswith(f"[{code}] Not executed."), text)
        return text

    def shows(self, answer, id):
        """What this mode must have shown on the way."""
        if self.mode.calls:
            wanted = self.mode.calls
            expect(answer["calls"] >= wanted if wanted > 1 else answer["calls"] == 1, f"{answer['calls']} calls")
        if self.mode is TIMER:
            expect(answer["timeouts"] >= 1, "the client's timer fired")
        elif "timeouts" in answer:
            equal(answer["timeouts"], 0, "timers that fired")
        # Whatever page its user is sent to is the approval's own, which decides for nobody unknown.
        pages = set(answer.get("urls", []))
        expect(pages <= {f"{self.broker.url}/approvals/{id}"}, f"pages: {pages}")
        if self.mode is PAGES:
            equal(answer["urls"], [f"{self.broker.url}/approvals/{id}"], "the page its user is sent to, once")
        if self.mode in (PROGRESS, RESET):
            steps = [p[0] for p in answer["progress"]]
            expect(len(steps) >= 2 and steps == sorted(set(steps)), f"progress rises: {steps}")

    # The outcomes

    def approved(self):
        """approved: its result, ran once"""
        arguments = self.arguments("yes")
        process = self.start(arguments)
        id = self.pending(arguments, process)
        time.sleep(DELAY)
        equal(self.executed(arguments), 0, "executions before the decision")
        self.broker.decide(id)
        answer = self.answer(process)
        self.ran_once(arguments, answer, id)
        self.shows(answer, id)

    def rejected(self):
        """rejected: says so and why, not run"""
        arguments = self.arguments("no")
        process = self.start(arguments)
        id = self.pending(arguments, process)
        time.sleep(DELAY)
        self.broker.decide(id, "reject", "Not this one.")
        text = self.refused(self.answer(process), "approval_rejected")
        expect("Not this one." in text, text)
        equal(self.executed(arguments), 0, "executions")

    def expired(self):
        """nobody decides: expired, not run"""
        arguments = self.arguments("late")
        process = self.start(arguments, "brief")
        id = self.pending(arguments, process)
        self.refused(self.answer(process), "approval_expired")
        self.broker.state(id, "expired")
        equal(self.executed(arguments), 0, "executions")

    def gone(self):
        """killed meanwhile, approved, started again with the same call: its result, ran once"""
        arguments = self.arguments("gone")
        process = self.start(arguments)
        id = self.pending(arguments, process)
        self.kill(process)
        process.communicate()
        self.broker.not_waiting(id, 30)
        time.sleep(DELAY)
        self.broker.decide(id)
        self.broker.state(id, "approved")
        equal(self.executed(arguments), 0, "executions with nobody waiting")
        self.ran_once(arguments, self.answer(self.start(arguments)), id)

    def cells(self):
        outcomes = [self.approved, self.rejected, self.expired, self.gone]
        # Plain, the suite `clients` has the other outcomes of the plain hold modes.
        if not SLOW and self.mode not in (TASK, OWN_TASK):
            outcomes = outcomes[:2] if self.mode is PAGES else outcomes[:1]
        return [(self, outcome) for outcome in outcomes]


def run(report):
    with Stage(report) as stage:
        upstream = stage.slow_upstream()
        lanes = [
            Lane(n, client, argv, era, mode)
            for n, (client, argv, era, mode) in enumerate((c, a, e, m) for c, a, e, modes in LANES for m in modes)
        ]
        only = os.environ.get("PLACET_REAL_MATRIX", "")
        lanes = [lane for lane in lanes if only in lane.name]
        policy = {
            "version": "1",
            "tools": {
                "work": {"action": "require_approval"},
                "brief": {"action": "require_approval", "approval": {"timeout": f"{DELAY}s"}},
            },
        }
        config = [{"name": "slow", "url": upstream.url, "policy": policy}]
        agents = [lane.settings() for lane in lanes]
        broker = Placet(stage, config, agents=agents, approvals={"task_poll_interval": "1s"}).start()
        for lane in lanes:
            lane.broker, lane.upstream = broker, upstream

        def cell(lane, outcome):
            with report.case(f"{lane.name}: {outcome.__doc__}"):
                outcome()

        # Cells wait far more than they work: many at once, but not so many that a client is late.
        with concurrent.futures.ThreadPoolExecutor(24 if SLOW else 6) as pool:
            for done in [pool.submit(cell, *c) for lane in lanes for c in lane.cells()]:
                done.result()
