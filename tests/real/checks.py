"""What a check says, how it is counted, and where the things it needs are."""

import contextlib
import os
import pathlib
import socket
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FIXTURES = HERE / "fixtures"


class Failed(AssertionError):
    """A check did not hold; the message says which."""


def expect(holds, message):
    if not holds:
        raise Failed(message)


def equal(got, wanted, what):
    expect(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def until(probe, seconds, what):
    """The first true answer of `probe`, asked every 100 ms; fails with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def setting(name):
    value = os.environ.get(name)
    if not value:
        sys.exit(f"{name} is not set: source the env.sh whose path tests/provision/provision.sh prints")
    return value


def python(venv):
    return f"{setting('PLACET_REAL_VENVS')}/python-{venv}/bin/python"


def node():
    return setting("PLACET_REAL_NODE")


def node_package(path):
    return f"{setting('PLACET_REAL_NODE_MODULES')}/{path}"


def binary():
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    return os.environ.get("PLACET_BIN", f"{target}/debug/placet")


def fixture_server():
    """The server of tests/conformance, an example of the crate: cargo build --example conformance_server"""
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    return os.environ.get("PLACET_CONFORMANCE_SERVER", f"{target}/debug/examples/conformance_server")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Report:
    """Counts the cases of one suite and prints a line for each."""

    def __init__(self, suite):
        self.suite, self.passed, self.failed, self.skipped = suite, 0, 0, 0
        self.lock = threading.Lock()

    def line(self, word, name, detail=""):
        with self.lock:
            print(f"{word} {self.suite}: {name}{f' ({detail})' if detail else ''}", flush=True)

    @contextlib.contextmanager
    def case(self, name):
        """What runs inside is one case: it fails by raising."""
        try:
            yield
        except Exception as error:  # a broken case must not hide the ones after it
            with self.lock:
                self.failed += 1
            where = ""
            if not isinstance(error, Failed):
                frame = traceback.extract_tb(error.__traceback__)[-1]
                where = f" at {pathlib.Path(frame.filename).name}:{frame.lineno}"
            self.line("FAIL", name, f"{type(error).__name__}{where}: {error}")
        else:
            with self.lock:
                self.passed += 1
            self.line("ok", name)

    def skip(self, name, why):
        self.skipped += 1
        self.line("skip", name, why)
