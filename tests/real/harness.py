"""Drives a built `placet` from outside: starts it with a configuration, talks to its MCP face and
its HTTP API, receives its mails and webhooks, kills it. Standard library only.

Knows nothing of the inside. Whatever a stage starts ends with the stage, by process id; what an
upstream leaves behind is found by a mark in its environment, ended, and reported as a failure.
"""

import base64
import contextlib
import ctypes
import email
import email.policy
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FIXTURES = HERE / "fixtures"
MODERN = "2026-07-28"
LEGACY = "2025-11-25"
AGENT = "agent-token-0123456789abcdef"
ANA = "ana-token-0123456789abcdef00"
BEN = "ben-token-0123456789abcdef00"
ADMIN = "admin-token-0123456789abcdef"


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


# --- configuration ---------------------------------------------------------------------------


def _toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(_toml_value(v) for v in value)}]"
    pairs = ", ".join(f"{json.dumps(k)} = {_toml_value(v)}" for k, v in value.items())
    return f"{{ {pairs} }}"


def toml(config):
    """A configuration file from a dict: sections are dicts, repeated tables lists of dicts."""
    lines = []
    for name, body in config.items():
        for table in body if isinstance(body, list) else [body]:
            lines.append(f"[[{name}]]" if isinstance(body, list) else f"[{name}]")
            lines += [f"{key} = {_toml_value(value)}" for key, value in table.items()]
            lines.append("")
    return "\n".join(lines)


REVIEWERS = [
    {"name": "ana", "email": "ana@example.org", "groups": ["oncall"], "token": ANA},
    {"name": "root", "email": "root@example.org", "role": "admin", "token": ADMIN},
]
# Short, so that a suite takes minutes; nothing else differs from the defaults.
APPROVALS = {"heartbeat": "1s", "hold": "50s"}


class Reply:
    """An HTTP answer read whole."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {k.lower(): v for k, v in response.getheaders()}
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.body)


class Placet:
    """One `placet serve` with its configuration; may be killed and started again."""

    def __init__(self, stage, upstreams, *, name="placet", agents=None, reviewers=None, notifiers=(),
                 approvals=None, database=None, env=None, **sections):  # fmt: skip
        self.stage, self.name, self.env = stage, name, env or {}
        self.dir = stage.dir / name
        self.dir.mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        for upstream in upstreams:
            policy = upstream.get("policy")
            if isinstance(policy, dict):
                upstream["policy"] = f"{upstream['name']}.json"
                (self.dir / upstream["policy"]).write_text(json.dumps(policy, indent=1))
        server = {"listen": f"127.0.0.1:{self.port}", "public_url": self.url} | sections.pop("server", {})
        self.config = {
            "server": server,
            "database": {"url": database or f"sqlite:{name}.db"},
            "approvals": {**APPROVALS, **(approvals or {})},
            **sections,
            "upstreams": upstreams,
            "agents": agents or [{"name": "agent", "token": AGENT}],
            "reviewers": reviewers or REVIEWERS,
        }
        if notifiers:
            self.config["notifiers"] = list(notifiers)
        self.file = self.dir / "placet.toml"
        self.write()
        stage.brokers.append(self)

    def write(self):
        """Writes the configuration, after a change of `config`."""
        self.file.write_text(toml(self.config))

    def start(self, tools=None):
        """Starts it and waits until it is ready and has the tool lists of `tools`, by default of
        all upstreams: a call before that is answered `upstream_unavailable`."""
        env = {"RUST_BACKTRACE": "0", **self.env}
        self.process = self.stage.start([binary(), "serve", "--config", self.file], self.name, env=env, cwd=self.dir)
        self.wait_ready()
        wanted = {u["name"] for u in self.config["upstreams"]} if tools is None else set(tools)

        def listed():
            return wanted <= {t["upstream"] for t in self.api("GET", "/tools", status=200).json()["tools"]}

        until(listed, 40, f"the tools of {sorted(wanted)} are known")
        return self

    def wait_ready(self, seconds=30):
        def up():
            code = self.process.poll()
            expect(code is None, f"{self.name} ended with {code} at start: {self.log_tail()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.http("GET", "/readyz").status == 200
            return False

        until(up, seconds, "/readyz is 200")

    def log_tail(self):
        return " | ".join((self.stage.dir / f"{self.name}.log").read_text(errors="replace").splitlines()[-4:])

    def stop(self, grace=20):
        """SIGTERM; the exit code, or None where it had to be killed."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        process.terminate()
        try:
            return process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None

    def kill9(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def command(self, *args, env=None, timeout=60):
        """Another command of the binary, with this configuration."""
        return subprocess.run(
            [binary(), *map(str, args), "--config", self.file],
            capture_output=True, text=True, timeout=timeout, cwd=self.dir,
            env={**os.environ, "RUST_BACKTRACE": "0", **self.env, **(env or {})},
        )  # fmt: skip

    # HTTP

    def http(self, method, path, body=None, headers=None, timeout=30):
        """One request, answered whole; redirects are not followed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def api(self, method, path, body=None, token=ANA, status=None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        reply = self.http(method, f"/api/v1{path}", body, headers)
        if status is not None:
            expect(reply.status == status, f"{method} {path}: {reply.status}, wanted {status}: {reply.text[:300]}")
        return reply

    def approvals(self, token=ANA, **query):
        path = f"/approvals?{urllib.parse.urlencode({'limit': 200, **query})}"
        return self.api("GET", path, token=token, status=200).json()["approvals"]

    def approval(self, id, token=ANA):
        return self.api("GET", f"/approvals/{id}", token=token, status=200).json()

    def pending(self, arguments=None, seconds=15, **query):
        """The one pending approval with these arguments, waited for."""

        def find():
            found = self.approvals(state="pending", **query)
            found = [a for a in found if arguments is None or self.approval(a["id"])["arguments"] == arguments]
            expect(len(found) < 2, f"{len(found)} pending approvals where one was expected")
            return found

        return until(find, seconds, f"an approval is pending for {arguments}")[0]

    def asked_anew(self, call, arguments):
        """Waits until the call is answered (None) or waits for people (the id of the approval)."""

        def known():
            pending = self.approvals(state="pending")
            return not call.is_alive() or [a for a in pending if self.approval(a["id"])["arguments"] == arguments]

        found = until(known, 20, "the call is answered or asked about")
        return None if found is True else found[0]["id"]

    def state(self, id, wanted, seconds=15):
        """Waits until the approval is in (one of) the wanted state(s)."""
        wanted = {wanted} if isinstance(wanted, str) else set(wanted)
        last = {}

        def there():
            last.update(self.approval(id))
            return last if last["state"] in wanted else None

        try:
            return until(there, seconds, f"approval in {sorted(wanted)}")
        except Failed as failure:
            raise Failed(f"{failure}; it is {last.get('state')}") from None

    def not_waiting(self, id, seconds=15):
        until(lambda: not self.approval(id)["waiting"], seconds, "waiting turns false")

    def decide(self, id, decision="approve", reason="because", token=ANA, status=200, **more):
        body = {"decision": decision, "reason": reason, **more}
        return self.api("POST", f"/approvals/{id}/decision", body, token=token, status=status).json()

    def mcp(self, upstream, token=AGENT, era="modern", **more):
        return Mcp(self, upstream, token, era, **more)


# --- a raw MCP client ------------------------------------------------------------------------


class Call(threading.Thread):
    """One request on its own connection: its events as they come, then its answer."""

    def __init__(self, mcp, body, headers, timeout):
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", mcp.placet.port, timeout=timeout)
        self.body, self.headers = body, headers
        self.status, self.answer, self.error, self.events, self.comments = None, None, None, [], 0
        self.reply_headers, self.raw = {}, b""
        self.head_at = None
        self.start()

    def run(self):
        try:
            self.connection.request("POST", self.headers.pop(":path"), self.body, self.headers)
            response = self.connection.getresponse()
            self.head_at = time.monotonic()
            self.status = response.status
            self.reply_headers = {k.lower(): v for k, v in response.getheaders()}
            if self.reply_headers.get("content-type", "").startswith("text/event-stream"):
                self.read_events(response)
            else:
                self.raw = response.read()
                if self.raw:
                    self.answer = json.loads(self.raw)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.error = error
        finally:
            self.connection.close()

    def read_events(self, response):
        data = []
        for line in response:
            line = line.rstrip(b"\r\n")
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif line.startswith(b":"):
                self.comments += 1
            elif not line and data:
                message = json.loads(b"\n".join(data))
                data = []
                if "id" in message and "method" not in message:
                    self.answer = message
                    return
                self.events.append(message)

    def result(self, timeout=60):
        """The JSON-RPC answer."""
        self.join(timeout)
        expect(not self.is_alive(), f"no answer within {timeout} s")
        expect(self.error is None, f"connection: {self.error!r}")
        expect(self.answer is not None, f"HTTP {self.status} without an answer: {self.raw[:200]}")
        return self.answer

    def broken(self, timeout=30):
        """Waits for the end of a request whose broker was killed."""
        self.join(timeout)
        expect(not self.is_alive(), "the connection ends with the broker")

    def abandon(self):
        """The client goes away."""
        with contextlib.suppress(OSError, AttributeError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.join(5)


class Mcp:
    """Requests of one agent to one upstream, in either era."""

    def __init__(self, placet, upstream, token=AGENT, era="modern"):
        self.placet, self.era, self.ids, self.session = placet, era, 0, None
        self.path = f"/mcp/{upstream}"
        self.headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        if era == "legacy":
            hello = {
                "protocolVersion": LEGACY,
                "capabilities": {},
                "clientInfo": {"name": "raw", "version": "1"},
            }
            call = self.begin("initialize", hello)
            self.version = call.result()["result"]["protocolVersion"]
            self.session = call.reply_headers.get("mcp-session-id")
            expect(self.session, "initialize gives a session id")
            done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            equal(self.send(json.dumps(done)).status, 202, "status of notifications/initialized")

    def envelope(self, method, params):
        """Body and headers of a request, as a careful client would send it."""
        self.ids += 1
        params = dict(params or {})
        headers = dict(self.headers)
        if self.era == "modern":
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
                **params.get("_meta", {}),
            }
            headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
            if "name" in params:
                name = params["name"]
                if not (name.isascii() and name.isprintable()):
                    name = f"=?base64?{base64.b64encode(name.encode()).decode()}?="
                headers["Mcp-Name"] = name
        elif self.session:
            headers |= {"MCP-Protocol-Version": self.version, "Mcp-Session-Id": self.session}
        body = {"jsonrpc": "2.0", "id": self.ids, "method": method}
        if params:
            body["params"] = params
        return body, headers

    def begin(self, method, params=None, timeout=120):
        body, headers = self.envelope(method, params)
        return Call(self, json.dumps(body), {**headers, ":path": self.path}, timeout)

    def begin_call(self, name, arguments, meta=None, timeout=120):
        params = {"name": name, "arguments": arguments}
        if meta:
            params["_meta"] = meta
        return self.begin("tools/call", params, timeout)

    def call(self, name, arguments, meta=None, timeout=60):
        return self.begin_call(name, arguments, meta).result(timeout)

    def send(self, body, headers=None, path=None, method="POST"):
        """Raw bytes with this client's headers; a header set to None is left out."""
        merged = dict(self.headers)
        if self.session:
            merged |= {"MCP-Protocol-Version": self.version, "Mcp-Session-Id": self.session}
        merged |= headers or {}
        merged = {k: v for k, v in merged.items() if v is not None}
        body = body.encode() if isinstance(body, str) else body
        return self.placet.http(method, path or self.path, body, merged)


def decision_of(answer):
    """What Placet says about a call: `_meta["io.placet/decision"]` of a result, or None."""
    result = answer.get("result", answer)
    return (result.get("_meta") or {}).get("io.placet/decision")


def code_of(answer):
    return (decision_of(answer) or {}).get("code")


def text_of(answer):
    result = answer.get("result", answer)
    return "".join(c.get("text", "") for c in result.get("content", []))


# --- the other sides -------------------------------------------------------------------------


class SlowUpstream:
    """fixtures/slow_upstream.py; counts what it executed in files."""

    def __init__(self, stage):
        self.stage, self.port = stage, free_port()
        self.dir = stage.dir / f"upstream-{self.port}"
        self.dir.mkdir()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.start()

    def start(self):
        argv = [sys.executable, "-B", FIXTURES / "slow_upstream.py", self.port, self.dir]
        self.process = self.stage.start(argv, f"upstream-{self.port}")
        self.stage.wait_port(self.port, self.process, "the slow upstream")

    def stop(self):
        self.stage.end(self.process)

    def lines(self, name):
        file = self.dir / name
        return file.read_text().splitlines() if file.exists() else []

    def started(self, id):
        return self.lines("started").count(id)

    def finished(self, id):
        return self.lines("finished").count(id)

    def mode(self, mode):
        (self.dir / "mode").write_text(mode)


class MailSink:
    """fixtures/mail_sink.py: mails as parsed messages, oldest first."""

    def __init__(self, stage, tls=None, auth=None, refuse=False):
        self.port = free_port()
        self.dir = stage.dir / f"mail-{self.port}"
        self.dir.mkdir()
        argv = [python("tools"), FIXTURES / "mail_sink.py", self.port, self.dir]
        argv += ["--tls", *tls] if tls else []
        argv += ["--auth", *auth] if auth else []
        argv += ["--refuse"] if refuse else []
        process = stage.start(argv, f"mail-{self.port}")
        stage.wait_port(self.port, process, "the mail sink")

    def mails(self, to=None):
        read = [
            email.message_from_bytes(f.read_bytes(), policy=email.policy.default)
            for f in sorted(self.dir.glob("[0-9]*.eml"))
        ]
        return [m for m in read if to is None or m["X-Sink-To"] == to]

    def wait(self, to, count=1, seconds=20):
        return until(
            lambda: self.mails(to) if len(self.mails(to)) >= count else None, seconds, f"{count} mail(s) for {to}"
        )


def plain_of(mail):
    return mail.get_body(("plain",)).get_content()


def html_of(mail):
    return mail.get_body(("html",)).get_content()


def review_links(mail):
    return sorted(set(re.findall(r"https?://[^\s\"'<>]+/review/[A-Za-z0-9_-]+", plain_of(mail))))


class Webhooks:
    """A receiver on loopback; `answers` are the next statuses, then 204."""

    def __init__(self, stage):
        self.received, self.answers = [], []
        self.secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                outer.received.append({"headers": {k.lower(): v for k, v in self.headers.items()}, "body": body})
                self.send_response(outer.answers.pop(0) if outer.answers else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}/hook"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stage.closers.append(lambda: (server.shutdown(), server.server_close()))

    def notifier(self, **more):
        return {"name": "ops", "kind": "webhook", "url": self.url, "secret": self.secret,
                "allow_private_network": True, **more}  # fmt: skip

    def of_type(self, kind, seconds=20):
        def find():
            return [r for r in list(self.received) if json.loads(r["body"])["type"] == kind]

        return until(find, seconds, f"a webhook {kind}")

    def verify(self, received):
        """With the official library, in its own venv."""
        given = {"secret": self.secret, **received}
        checked = subprocess.run(
            [python("tools"), FIXTURES / "verify_webhook.py"], input=json.dumps(given), text=True, capture_output=True
        )
        expect(checked.returncode == 0, f"standardwebhooks refuses it: {checked.stderr[-200:]}")
