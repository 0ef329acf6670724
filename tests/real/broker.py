"""One `placet serve`: its configuration, its life, its HTTP API."""

import contextlib
import http.client
import json
import os
import subprocess
import urllib.parse

from checks import Failed, binary, expect, free_port, until
from raw_mcp import Mcp

AGENT = "agent-token-0123456789abcdef"
ANA = "ana-token-0123456789abcdef00"
BEN = "ben-token-0123456789abcdef00"
ADMIN = "admin-token-0123456789abcdef"


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
                 approvals=None, database=None, env=None, host="127.0.0.1", **sections):  # fmt: skip
        self.stage, self.name, self.env = stage, name, env or {}
        self.dir = stage.dir / name
        self.dir.mkdir()
        self.port = free_port()
        self.url = f"http://{host}:{self.port}"
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
            "agents": [{"name": "agent", "token": AGENT}] if agents is None else agents,
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

    def waiting(self, id, seconds=15):
        until(lambda: self.approval(id)["waiting"], seconds, "waiting turns true")

    def held_requests(self):
        text = self.http("GET", "/metrics", headers={"Authorization": f"Bearer {ADMIN}"}).text
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("placet_held_requests "))

    def not_waiting(self, id, seconds=15):
        until(lambda: not self.approval(id)["waiting"], seconds, "waiting turns false")

    def decide(self, id, decision="approve", reason="because", token=ANA, status=200, **more):
        body = {"decision": decision, "reason": reason, **more}
        return self.api("POST", f"/approvals/{id}/decision", body, token=token, status=status).json()

    def mcp(self, upstream, token=AGENT, era="modern", **more):
        return Mcp(self, upstream, token, era, **more)
