"""A temporary directory and the processes of one suite, ended with it whatever happens."""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

from checks import Failed, equal, expect, until
from sides import MailSink, SlowUpstream, Webhooks

_LIBC = ctypes.CDLL(None)  # loaded here, not between fork and exec


def _die_with_parent():
    _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: of the thread that forks


class Stage:
    """A temporary directory and the processes started in it."""

    def __init__(self, report):
        self.report = report
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="placet-real-"))
        self.mark = f"PLACET_REAL_STAGE={self.dir.name}"
        self.processes, self.closers, self.brokers = [], [], []

    def __enter__(self):
        self.failed_before = self.report.failed
        return self

    def __exit__(self, kind, error, _):
        if kind is not None and not issubclass(kind, KeyboardInterrupt):
            with self.report.case("the stage stands"):
                raise error
        with self.report.case("brokers end with 0 and leave nothing running"):
            codes = [broker.stop() for broker in self.brokers if broker.process]
            equal(codes, [0] * len(codes), "exit codes")
            self.no_leftovers()
        for close in self.closers:
            close()
        for process in reversed(self.processes):
            self.end(process)
        if self.report.failed > self.failed_before:
            for log in sorted(self.dir.glob("*.log")):
                lines = log.read_text(errors="replace").splitlines()[-12:]
                print(f"--- {log.name}", *(line[:300] for line in lines), sep="\n    ", flush=True)
        if os.environ.get("PLACET_REAL_KEEP"):
            print(f"kept: {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        return kind is not None and issubclass(kind, Exception)

    def start(self, argv, name, env=None, **more):
        """Starts a process that ends with this one; its output goes to NAME.log."""
        key, value = self.mark.split("=")
        with open(self.dir / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [str(a) for a in argv],
                env={**os.environ, key: value, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **more,
            )
        self.processes.append(process)
        return process

    def end(self, process, grace=5):
        """Asks, waits, then kills the process and its group."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def upstream_env(self, **env):
        """Environment of a stdio upstream, with the mark that finds what it leaves behind."""
        key, value = self.mark.split("=")
        return {key: value, **env}

    def no_leftovers(self):
        # Sessions that still have their leader: fixtures, ended after this, with all they started.
        ours = {p.pid for p in self.processes if p.poll() is None}

        def marked():
            for entry in pathlib.Path("/proc").iterdir():
                if entry.name.isdigit() and int(entry.name) not in ours:
                    with contextlib.suppress(OSError):
                        if self.mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                            if os.getsid(int(entry.name)) not in ours:
                                yield int(entry.name), (entry / "cmdline").read_bytes()[:120]

        try:
            until(lambda: not list(marked()), 10, "upstream processes end with the broker")
        except Failed as failure:
            left = list(marked())
            for pid, _ in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise Failed(f"{failure}: {left}") from None

    # What most suites need.

    def wait_port(self, port, process, name, seconds=30):
        def up():
            expect(process.poll() is None, f"{name} ended with {process.poll()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            return False

        until(up, seconds, f"{name} listens")

    def slow_upstream(self):
        return SlowUpstream(self)

    def mail_sink(self, **options):
        return MailSink(self, **options)

    def webhooks(self):
        return Webhooks(self)

    def certificates(self):
        """A throw-away authority and a certificate for localhost: (ca, cert, key)."""
        run = lambda *args: subprocess.run(  # noqa: E731
            ["openssl", *args], cwd=self.dir, check=True, capture_output=True
        )
        (self.dir / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        new = ("req", "-newkey", "rsa:2048", "-nodes", "-keyout")
        run(*new, "ca.key", "-x509", "-days", "2", "-subj", "/CN=test authority", "-out", "ca.pem")
        run(*new, "leaf.key", "-subj", "/CN=localhost", "-out", "leaf.csr")
        run("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", "ext", "-out", "leaf.pem")  # fmt: skip
        return self.dir / "ca.pem", self.dir / "leaf.pem", self.dir / "leaf.key"
