"""Spellings of URIs: whatever a reader of some language takes for the URI that a rule is about gets no milder
answer than that URI. Rust's own reader is tried beside the code."""

import http.server
import itertools
import json
import posixpath
import random
import subprocess
import threading
import urllib.parse

from harness import FIXTURES, Placet, Stage, equal, expect, node, python

PLAIN = {
    "https://intra.example/admin/users": [
        "intra.example", "INTRA.Example", "intra.example.", "%69ntra.example", "ｉntra.example", "intra。example",
        "in\u00adtra.example", "intra%2Eexample",
    ],
    "http://127.0.0.1/admin/users": [
        "127.0.0.1", "127.1", "0x7f.1", "2130706433", "017700000001", "0177.0.0.1", "127.0.0.1.", "127.0.1",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:FFFF:127.0.0.1]",
    ],
    "https://xn--bcher-kva.example/admin/users": ["bücher.example", "BÜCHER.example", "b%C3%BCcher.example"],
    "https://strasse.example/admin/users": ["strasse.example", "straße.example", "STRASSE.example"],
    "postgres://prod/admin/users": ["prod", "%70rod", "prod:5432", "sandbox,prod", "PROD"],
    "redis://prod/0": ["prod", "%70rod", "prod:6379", "PROD"],
    "mysql://prod/admin": ["prod", "prod:3306", "PROD"],
    "mongodb://prod/admin": ["prod", "sandbox,prod", "prod:27017", "PROD"],
}  # fmt: skip
ENDS = ["://", ":", ":/", ":///", ":\\\\", ":/\\", "://\t"]
USERS = ["", "u@", "u:p@", ":@", "@", "a@b@", "x%40y@", "x\\@", "x#@", "x?@", "sandbox:1@"]
PORTS = ["", ":", ":443", ":80", ":0080", ":000443"]
PATHS = [
    "/admin/users", "//admin//users", "/./admin/users", "/x/../admin/users", "/x/%2e%2E/admin/users", "/%61dmin/users",
    "\\admin\\users", "/ad\tmin/users", "/admin/users#top", "/admin/./users?x=1", "/admin/x/../users", "/admin/users/",
    "/admin%2fusers", "/%2561dmin/users", "/admin/users?host=other", "/admin/users;x=1",
]  # fmt: skip
# Instead of PATHS, for databases that have no such paths.
PATHS_OF = {
    "redis": [
        "/0", "", "/", "//0", "/0/", "/00", "/-0", "/+0", "/0_0", "/ 0", "/%200", "/%30", "/%D9%A0", "/\uff10", "/0#x",
        "/0?protocol=3", "/5?db=0", "/5?db=0&db=5", "?db=0", "?db=%30", "/5?db=+0",
    ],
    "mysql": [
        "/admin", "/admin?charset=utf8", "/x?db=admin", "/x?database=admin", "/x?db=%61dmin", "/admin?user=u",
        "/admin?port=3306", "/x?db=x;db=admin",
    ],
    "mongodb": ["/admin", "/admin?w=1", "/%61dmin", "/admin?authSource=x", "/admin?w=1;appname=x"],
}  # fmt: skip
QUERIES = {
    "postgres": [
        "postgres://sandbox/admin/users?host=prod", "postgresql:///x?dbname=admin/users&host=prod",
        "postgres://u:p@sandbox/admin/users?hostaddr=prod&port=5432",
    ],
    "redis": [
        "redis:///0?host=prod", "redis://?host=prod", "redis://?host=prod&host=x&db=0", "rediss:///5?host=prod&db=0",
        "redis://:secret@?host=prod&port=6379",
    ],
    "mysql": [
        "mysql://sandbox/admin?host=prod", "mysql://sandbox/x?host=prod&db=admin", "mysql:///admin?host=prod",
        "mysql+pymysql://prod/admin", "mariadb://prod/admin", "mariadb+pymysql://sandbox/x?host=prod&database=admin",
        "mysql+pymysql://u:p@sandbox:1/admin?host=prod&port=3306",
    ],
}  # fmt: skip
# So many of them, chosen by a fixed seed, beside each part changed by itself.
CHOSEN = 250
DEFAULT_PORTS = {
    "https": "443", "http": "80", "postgres": "5432", "redis": "6379", "mysql": "3306", "mongodb": "27017",
}  # fmt: skip
DECISION = -31100


class Open(http.server.BaseHTTPRequestHandler):
    """An upstream that reads everything."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        results = {
            "initialize": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"resources": {}, "tools": {}},
                "serverInfo": {"name": "open", "version": "1"},
            },
            "tools/list": {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]},
            "resources/read": {"contents": [{"uri": "x:y", "text": "read"}]},
        }
        self.send_response(200 if "id" in message else 202)
        if "id" not in message:
            body = b""
        else:
            result = results.get(message["method"], {})
            body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
            self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send_response(405)
        self.send_header("content-length", "0")
        self.end_headers()

    do_DELETE = do_GET

    def log_message(self, *_):
        pass


def spellings(plain, hosts):
    scheme = plain.split(":")[0]
    schemes = [scheme, scheme.upper(), f" {scheme}"]
    parts = [schemes, ENDS, USERS, hosts, PORTS, PATHS_OF.get(scheme, PATHS)]
    first = [choices[0] for choices in parts]
    for i, choices in enumerate(parts):
        for choice in choices:
            yield "".join([*first[:i], choice, *first[i + 1 :]])
    every = list(itertools.product(*parts))
    for chosen in random.Random(7).sample(every, CHOSEN):
        yield "".join(chosen)


def means(read, plain):
    """Whether what was read is what the plain URI means."""
    if not read:
        return False
    url = urllib.parse.urlsplit(plain)
    port = str(read["port"] or "")
    path = urllib.parse.unquote(read["path"] or "").replace("\\", "/")
    path = posixpath.normpath(path.replace("//", "/").replace("//", "/")).partition(";")[0]
    host = urllib.parse.unquote(read["host"] or "").lower().rstrip(".").strip("[]")
    mapped = {"::ffff:7f00:1": "127.0.0.1"}
    return (
        read["scheme"].lower() == url.scheme
        and mapped.get(host, host) == url.hostname
        and port in ("", DEFAULT_PORTS[url.scheme])
        and path == url.path
    )


def ask(argv, uris):
    done = subprocess.run(argv, input=json.dumps(uris), capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout)


def run(report):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Open)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/mcp"
    rules = {f"{plain.removesuffix('/users')}*": {"action": "deny"} for plain in PLAIN}
    with Stage(report) as stage:

        def upstream(name, **resources):
            policy = {"version": "1", "resources": resources}
            return {"name": name, "url": url, "era": "legacy", "policy": policy}

        upstreams = [upstream("open"), upstream("denied", rules=rules), upstream("hidden", hide=list(rules))]
        broker = Placet(stage, upstreams).start()
        of = {name: broker.mcp(name, era="legacy") for name in ("open", "denied", "hidden")}

        def answer(name, uri):
            return of[name].begin("resources/read", {"uri": uri}).result()

        with report.case("the server reads what no rule is about"):
            expect("result" in answer("open", "https://intra.example/admin/users"), "an open address")
            for name in ("denied", "hidden"):
                for uri in (
                    "https://other.example/admin", "https://intra.example/b", "postgres://sandbox/admin/users",
                    "redis://sandbox/0", "redis://prod/5", "redis://prod/user:1", "mysql://prod/x?charset=utf8",
                    "mongodb://sandbox/admin?replicaSet=x",
                ):  # fmt: skip
                    expect("result" in answer(name, uri), f"{name}: {uri}")
        for plain, hosts in PLAIN.items():
            uris = list(dict.fromkeys(spellings(plain, hosts)))
            uris += QUERIES.get(plain.split(":")[0], [])
            readers = {"node": ask([node(), FIXTURES / "uri_readers.mjs"], uris)}
            for venv in ("mcp1", "mcp2", "fastmcp", "drivers"):
                found = ask([python(venv), FIXTURES / "uri_readers.py"], uris)
                readers.update({f"{venv} {name}": read for name, read in found.items()})
            taken = {uri for read in readers.values() for uri, it in zip(uris, read, strict=True) if means(it, plain)}
            with report.case(f"no spelling of {plain} that a reader takes for it is judged more mildly"):
                expect(len(taken) > 25, f"readers take {len(taken)} of {len(uris)} spellings for it")
                milder = []
                for uri in sorted(taken):
                    denied, hidden = answer("denied", uri), answer("hidden", uri)
                    if denied.get("error", {}).get("code") != DECISION:
                        milder.append(("denied", uri))
                    if hidden.get("error", {}).get("message") != "Resource not found":
                        milder.append(("hidden", uri))
                equal(milder, [], f"of {len(taken)} spellings, by {', '.join(readers)}")
    server.shutdown()
