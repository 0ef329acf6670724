"""What the cases of bad days have in common: a stage, a database, brokers on it, and relays."""

import contextlib
import itertools
import os
import subprocess
import threading
import time

from harness import ADMIN, AGENT, Placet, Stage, code_of, decision_of, equal, expect, setting, text_of, until
from relay import Relay
from suites.crash import postgres_database

POLICY = {
    "version": "1",
    "tools": {
        "work": {"action": "require_approval"}, "brief": {"action": "require_approval"},
        "peek": {"action": "allow"}, "free": {"action": "allow"},
    },
}  # fmt: skip
BOTH = ("SQLite", "PostgreSQL")
_NUMBERS = itertools.count()


class Case:
    """A bad day: what is true at its end, and how it is lived."""

    def __init__(self, name, live, databases=BOTH, *, slow=False, seconds=20):
        self.name, self.live, self.databases, self.slow, self.seconds = name, live, databases, slow, seconds


class Day(Stage):
    """The stage of one case on one database, which reports as one case."""

    def __init__(self, report, case, database):
        super().__init__(report)
        self.case, self.name, self.postgres = case, f"{case.name}, on {database}", database == "PostgreSQL"
        self.stack, self.recovered = contextlib.ExitStack(), []
        self.database, self.full = None, None

    def __enter__(self):
        if self.postgres:
            name = f"placet_bad_{os.getpid()}_{next(_NUMBERS)}"
            self.database = self.stack.enter_context(postgres_database(name))
        self.upstream = self.slow_upstream()
        return super().__enter__()

    def __exit__(self, kind, error, trace):
        if error is not None and not isinstance(error, Exception):
            self.stack.close()
            return super().__exit__(kind, error, trace)
        with self.report.case(self.name + self.figures()):
            if error is not None:
                raise error
        super().__exit__(None, None, None)
        self.stack.close()
        return True

    def figures(self):
        return "".join(f" [{what} after {seconds:.1f} s]" for what, seconds in self.recovered)

    @contextlib.contextmanager
    def timed(self, what, within):
        """How long what is inside takes; printed with the case, and bounded."""
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        self.recovered.append((what, took))
        expect(took <= within, f"{what} after {took:.1f} s, wanted within {within} s")

    def relay(self):
        """A relay in front of PostgreSQL."""
        return Relay(self, int(self.database.rsplit("/", 1)[0].rsplit(":", 1)[1]))

    def broker(self, name="a", through=None, upstreams=None, sections=None, **more):
        database = self.database
        if through:
            database = through.url(database)
        upstream = {"name": "slow", "url": self.upstream.url, "policy": POLICY}
        return Placet(self, upstreams or [upstream], name=name, database=database, **(sections or {}), **more)

    def sql(self, text):
        """Runs a statement, past all relays; the first line it prints."""
        if not self.postgres:
            import sqlite3

            db = sqlite3.connect(self.dir / "a" / "a.db", timeout=30)
            try:
                row = db.execute(text).fetchone()
                db.commit()
                return "" if row is None else str(row[0])
            finally:
                db.close()
        psql = f"{setting('PLACET_REAL_POSTGRES_BIN')}/psql"
        done = subprocess.run([psql, "-qXAt", self.database, "-c", text], capture_output=True, text=True)
        expect(done.returncode == 0, f"{text}: {done.stderr[-300:]}")
        return done.stdout.strip().split("\n")[0]

    def state_in_store(self, id):
        return self.sql(f"select state from approvals where id = '{id}'")

    @contextlib.contextmanager
    def store_away(self, relay=None):
        """Nobody can write: SQLite is locked by somebody else, PostgreSQL is gone."""
        if self.postgres:
            relay.away()
            try:
                yield
            finally:
                relay.back()
            return
        import sqlite3

        db = sqlite3.connect(self.dir / "a" / "a.db", isolation_level=None, timeout=30)
        try:
            db.execute("begin immediate")
            yield
            db.execute("rollback")
        finally:
            db.close()


def ready(broker, seconds=40):
    until(lambda: status(broker) == 200, seconds, "readyz is 200")


def status(broker, path="/readyz", timeout=5):
    import http.client

    try:
        return broker.http("GET", path, timeout=timeout).status
    except (OSError, http.client.HTTPException):
        return 0


def quick(broker, what, within=2.0):
    """Allowed calls, each answered within `within` seconds."""
    for n in range(3):
        began = time.monotonic()
        answer = broker.mcp("slow").call("peek", {"id": f"{what} {n}"}, timeout=60)
        took = time.monotonic() - began
        equal(text_of(answer), f"did peek {what} {n}", "an allowed call")
        expect(took <= within, f"an allowed call {what} took {took:.1f} s")


def settle_and_ask_anew(day, broker, id, arguments):
    """An admin says that it did not run; the identical call asks anew and is approved."""
    broker.api("POST", f"/approvals/{id}/settle", {"done": False, "reason": "looked"}, token=ADMIN, status=200)
    mcp = broker.mcp("slow")
    equal(code_of(mcp.call("work", arguments)), "outcome_settled", "the settled end")
    call, again = mcp.held("work", arguments)
    broker.decide(again)
    return call


class Background(threading.Thread):
    """Does something again and again until told to stop; what it raised is raised again there."""

    def __init__(self, work, every=0.2):
        super().__init__(daemon=True)
        self.work, self.every, self.error, self.over = work, every, None, threading.Event()
        self.start()

    def run(self):
        while not self.over.is_set():
            try:
                self.work()
            except Exception as error:
                self.error = error
                return
            self.over.wait(self.every)

    def stop(self):
        self.over.set()
        self.join(60)
        if self.error:
            raise self.error


def truthful(answer, ran):
    """What Placet says of a call does not deny what may be so."""
    text = text_of(answer).lower()
    if ran:
        for lie in ("not executed", "nothing ran", "nothing was queued"):
            expect(lie not in text, f"it ran, and the agent is told: {text}")
    return answer


__all__ = [
    "ADMIN", "AGENT", "BOTH", "POLICY", "Background", "Case", "Day", "code_of", "decision_of", "equal", "expect",
    "quick", "ready", "settle_and_ask_anew", "status", "text_of", "truthful", "until",
]  # fmt: skip
