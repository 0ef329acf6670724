"""The other sides of a broker: a slow upstream, a mail server, a receiver of webhooks."""

import base64
import email
import email.policy
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from checks import FIXTURES, expect, free_port, python, until


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

    def begins(self, id, seconds=15):
        """Waits until it has begun a call: an approval runs a moment before its server knows."""
        until(lambda: self.started(id), seconds, f"the server has begun {id}")

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
