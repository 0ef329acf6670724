"""A raw MCP client of both eras: sees every event, may send anything, may go away at any moment."""

import base64
import contextlib
import http.client
import json
import socket
import threading
import time

from checks import equal, expect

MODERN = "2026-07-28"
LEGACY = "2025-11-25"


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
                    self.answer = json.loads(self.raw, strict=False)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.error = error
        finally:
            self.connection.close()

    def read_events(self, response):
        data = []
        for line in response:
            line = line.rstrip(b"\r\n")
            if line.startswith(b"data:"):
                # Without anything in it an event only tells its id.
                data += filter(None, [line[5:].removeprefix(b" ")])
            elif line.startswith(b":"):
                self.comments += 1
            elif not line and data:
                message = json.loads(b"\n".join(data), strict=False)
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

    def __init__(self, placet, upstream, token, era="modern", declares=None):
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
                "capabilities": declares or {},
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
            keys = ("uri",) if method == "resources/read" else ("name", "taskId")
            named = [params[key] for key in keys if key in params]
            if named:
                name = named[0]
                if not (name.isascii() and name.isprintable() and name == name.strip()):
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

    def held(self, name, arguments, seconds=15, **more):
        """A call that waits for people, and the approval it waits for."""
        call = self.begin_call(name, arguments, **more)
        return call, self.placet.pending(arguments, seconds)["id"]

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
