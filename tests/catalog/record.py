#!/usr/bin/env python3
"""Records what real MCP servers declare, drafts the catalogue from it, and checks it.

    record.py record [PACKAGE...]   installs, starts and lists the servers of servers.py
    record.py draft                 writes src/domain/catalog/*.txt for what has no file yet
    record.py check [DIRECTORY]     the classifier's precision and recall against the catalogue, over
                                    what was recorded, or over other lists of known servers: files
                                    with the members initialize and tools

The answers are kept outside the repository, in ~/.cache/placet-catalog: their texts belong to the
servers' authors; the catalogue holds facts only. Servers are installed without their install
scripts and started with placeholders, an empty home and no network, two at a time, each for at
most a minute.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import time

from servers import SERVERS

HOME = pathlib.Path.home() / ".cache/placet-catalog"
RECORDED = HOME / "recorded"
KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: u, user: {}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""
LIMIT = 60  # seconds from the start of a server to its last tool


def slug(package):
    return re.sub(r"[^a-z0-9]+", "-", package.lower()).strip("-")


def run(command, **more):
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL, **more
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} {command[1]}: {done.stderr.strip()[-400:]}")
    return done.stdout


def uv():
    program = HOME / "uv/bin/uv"
    if not program.exists():
        run([sys.executable, "-m", "venv", str(HOME / "uv")])
        run([str(HOME / "uv/bin/pip"), "install", "-q", "uv"])
    return str(program)


def python(version):
    """A Python of this version that is on the machine."""
    pyenv = sorted((pathlib.Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python3"))
    return str(pyenv[-1]) if pyenv else sys.executable


def install(server, at):
    """Installs it; its version and the command that starts it."""
    package = server["package"]
    if server["registry"] == "npm":
        at.mkdir(parents=True)
        flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--prefix", str(at)]
        run(["npm", "install", *flags, package])
        root = at / "node_modules" / package
        about = json.loads((root / "package.json").read_text())
        programs = about.get("bin") or about.get("main")
        if isinstance(programs, dict):
            last = package.split("/")[-1]
            program = programs.get(server["bin"] or last) or next(iter(programs.values()))
        else:
            program = programs
        return about["version"], ["node", str(root / program)]
    run([uv(), "venv", "-q", "--python", python(server["python"]), str(at)])
    into = ["--python", str(at / "bin/python")]
    run([uv(), "pip", "install", "-q", "--no-build", *into, package, *server["beside"]])
    listed = json.loads(run([uv(), "pip", "list", "--format", "json", *into]))
    name = slug(package)
    version = next(one["version"] for one in listed if slug(one["name"]) == name)
    program = at / "bin" / (server["bin"] or package)
    return version, [str(program)]


class Client:
    """A client over stdio that initializes and lists."""

    def __init__(self, command, env, cwd):
        # Without a network where that can be had: they would only fail later.
        up = 'ip link set lo up; exec "$@"'
        alone = ["unshare", "--net", "--", "sh", "-c", up, "sh"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            [*alone, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(cwd / "stderr", "wb"),
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        self.until = time.monotonic() + LIMIT
        self.buffer = b""
        self.number = 0

    def send(self, message):
        line = json.dumps({"jsonrpc": "2.0", **message}) + "\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()

    def line(self):
        while b"\n" not in self.buffer:
            left = self.until - time.monotonic()
            ready = left > 0 and select.select([self.process.stdout], [], [], left)[0]
            if not ready:
                raise TimeoutError("no answer in time")
            got = os.read(self.process.stdout.fileno(), 1 << 16)
            if not got:
                raise EOFError("it ended")
            self.buffer += got
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def ask(self, method, params):
        self.number += 1
        self.send({"id": self.number, "method": method, "params": params})
        while True:
            try:
                heard = json.loads(self.line())
            except ValueError:
                continue  # some log to stdout
            if not isinstance(heard, dict):
                continue
            if "method" in heard and "id" in heard:
                result = {"roots": []} if heard["method"] == "roots/list" else {}
                self.send({"id": heard["id"], "result": result})
            elif heard.get("id") == self.number:
                if "error" in heard:
                    raise RuntimeError(f"{method}: {heard['error']}")
                return heard["result"]

    def end(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def declared(command, env, cwd):
    client = Client(command, env, cwd)
    try:
        about = {"name": "placet-catalog", "version": "1"}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about}
        greeting = client.ask("initialize", params)
        client.send({"method": "notifications/initialized"})
        tools, cursor = [], None
        while True:
            page = client.ask("tools/list", {"cursor": cursor} if cursor else {})
            tools += page["tools"]
            cursor = page.get("nextCursor")
            if not cursor:
                return greeting, tools
    finally:
        client.end()


def record_one(server):
    package = server["package"]
    name = slug(package)
    at, place = HOME / "installed" / name, HOME / "run" / name
    for old in (at, place):
        shutil.rmtree(old, ignore_errors=True)
    (place / ".aws").mkdir(parents=True)
    (place / ".aws/config").write_text("[default]\nregion = us-east-1\n")
    (place / "kubeconfig").write_text(KUBECONFIG)
    try:
        version, command = install(server, at)
        fill = lambda text: text.replace("{dir}", str(place))
        env = {"PATH": os.environ["PATH"], "HOME": str(place), "LANG": "C.UTF-8", "CI": "1"}
        env |= {key: fill(value) for key, value in server["env"].items()}
        greeting, tools = declared([*command, *map(fill, server["args"])], env, place)
        if not tools:
            raise RuntimeError("it lists no tools")
        kept = {
            "package": package,
            "registry": server["registry"],
            "version": version,
            "serverInfo": greeting["serverInfo"],
            "tools": tools,
        }
        (RECORDED / f"{name}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False))
        return f"ok {package} {version}: {greeting['serverInfo']} {len(tools)} tools"
    except Exception as error:
        told = place / "stderr"
        words = told.read_text(errors="replace").strip()[-300:] if told.exists() else ""
        return f"NO {package}: {error!r} {words!r}"
    finally:
        shutil.rmtree(at, ignore_errors=True)


def record(names):
    RECORDED.mkdir(parents=True, exist_ok=True)
    uv()
    wanted = [
        server
        for server in SERVERS
        if server["package"] in names
        or (not names and not (RECORDED / f"{slug(server['package'])}.json").exists())
    ]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for line in pool.map(record_one, wanted):
            print(line, flush=True)


def replay(file):
    """Is a server over stdio that declares what was recorded."""
    kept = json.loads(pathlib.Path(file).read_text())
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" not in asked:
            continue
        answer = {"error": {"code": -32601, "message": "not found"}}
        if asked["method"] == "initialize":
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
            answer = {"result": {**result, "serverInfo": kept["serverInfo"]}}
        elif asked["method"] == "tools/list":
            answer = {"result": {"tools": kept["tools"]}}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}), flush=True)


def classified(file):
    """What `placet tools` makes of what was recorded."""
    kept = HOME / "classified" / file.name
    kept.parent.mkdir(exist_ok=True)
    age = max(file.stat().st_mtime, pathlib.Path(PLACET).stat().st_mtime)
    if not kept.exists() or kept.stat().st_mtime < age:
        config = HOME / "classified" / f"{file.stem}.toml"
        command = [sys.executable, str(pathlib.Path(__file__).resolve()), "replay", str(file)]
        config.write_text(
            f'[[upstreams]]\nname = "u"\nera = "legacy"\ncommand = {json.dumps(command)}\n'
        )
        kept.write_text(run([PLACET, "tools", "u", "--json", "--config", str(config)]))
    return json.loads(kept.read_text())


PLACET = os.environ.get("PLACET", str(pathlib.Path(__file__).parents[2] / "target/debug/placet"))
DATA = pathlib.Path(__file__).parents[2] / "src/domain/catalogue"


def recorded():
    """Every recorded server with what the classifier says of its tools, in a fixed order."""
    files = {slug(s["package"]): RECORDED / f"{slug(s['package'])}.json" for s in SERVERS}
    there = [file for file in files.values() if file.exists()]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for file, told in zip(there, pool.map(classified, there)):
            kept = json.loads(file.read_text())
            yield kept, {tool["name"]: tool for tool in told["tools"]}


def flips_text(flips):
    plain = []
    for flip in flips:
        values = [v if isinstance(v, str) else json.dumps(v) for v in flip["values"]]
        if all(re.fullmatch(r"[\w .:/-]*", v) and ":" not in v for v in values):
            key = flip["path"].removeprefix("args.")
            plain.append(f"{key}={'|'.join(values)}:{flip['risk']}")
    return ";".join(plain) or "-"


def draft():
    """Writes what the classifier says of each tool as lines to read and correct; nothing that is
    there is changed."""
    have = {}
    for name in ("awslabs", "npm", "pypi"):
        for line in (DATA / f"{name}.txt").read_text().splitlines():
            if line.startswith("= "):
                have[line.split("\t")[3]] = True
    for kept, tools in recorded():
        if kept["package"] in have:
            continue
        info = kept["serverInfo"]
        head = [info["name"], info.get("version") or "-", kept["registry"], kept["package"]]
        lines = ["= " + "\t".join([*head, kept["version"]])]
        for tool in kept["tools"]:
            said = tools.get(tool["name"])
            if not said:
                continue
            own = said["classifier"]
            words = "; ".join(f"{e['place']}: {e['quote'][:30]}" for e in own["evidence"][:2])
            flips = flips_text(own["flips"])
            row = [tool["name"], own["risk"], own["severity"], said["fingerprint"][:16], flips]
            lines.append("\t".join([*row, " ".join(words.split())]))
        own_file = "awslabs" if kept["package"].startswith("awslabs.") else kept["registry"]
        with (DATA / f"{own_file}.txt").open("a") as file:
            file.write("\n" + "\n".join(lines) + "\n")
        print(f"drafted {kept['package']}: {len(lines) - 1} tools")


def labels():
    """The catalogue's class of each tool, by package."""
    found, package = {}, None
    for name in ("awslabs", "npm", "pypi"):
        for line in (DATA / f"{name}.txt").read_text().splitlines():
            columns = line.split("\t")
            if line.startswith("= "):
                package = columns[3]
            elif len(columns) == 6:
                found[package, columns[0]] = columns[1]
    return found


CLASSES = ["read", "write", "execute", "destructive", "financial"]


def report(pairs):
    """Prints precision and recall per class of (label, said, name), and the confusions by name."""
    for one in CLASSES:
        right = sum(label == said == one for label, said, _ in pairs)
        labelled = sum(label == one for label, _, _ in pairs)
        said_so = sum(said == one for _, said, _ in pairs)
        shares = [f"{right / n:.3f}" if n else "-" for n in (said_so, labelled)]
        print(f"{one}: {labelled} labelled, precision {shares[0]}, recall {shares[1]}")
    right = sum(label == said for label, said, _ in pairs)
    print(f"all: {right} of {len(pairs)} as labelled")
    for label, said, name in sorted(pairs):
        if label != said:
            mild = label in ("destructive", "financial") and said in ("read", "write")
            print(f"  {label} called {said}: {name}{'  (TOO MILD)' if mild else ''}")
    return not any(p[0] == "destructive" and p[1] in ("read", "write") for p in pairs)


def check(directory=None):
    """The classifier against the catalogue's labels."""
    if directory:
        return report(list(others(pathlib.Path(directory))))
    found = labels()
    pairs = [
        (found[kept["package"], name], tool["classifier"]["risk"], f"{kept['package']} {name}")
        for kept, tools in recorded()
        for name, tool in tools.items()
        if (kept["package"], name) in found
    ]
    return report(pairs)


def others(directory):
    """The labels of lists that others recorded, where the catalogue recognises their servers."""
    place = HOME / "others"
    place.mkdir(parents=True, exist_ok=True)
    for file in sorted(directory.glob("*.json")):
        told = json.loads(file.read_text())
        kept = {"serverInfo": told["initialize"]["serverInfo"], "tools": told["tools"]}
        copy = place / file.name
        copy.write_text(json.dumps(kept))
        said = classified(copy)
        if not said["known"]:
            print(f"{file.name}: not known, {len(said['tools'])} tools")
        for tool in said["tools"]:
            if tool["catalogue"]:
                name = f"{file.stem} {tool['name']}"
                yield tool["catalogue"]["risk"], tool["classifier"]["risk"], name
            else:
                print(f"{file.stem} {tool['name']}: not known, called {tool['classifier']['risk']}")


def main():
    what, *rest = sys.argv[1:] or ["--help"]
    if what == "record":
        record(rest)
    elif what == "replay":
        replay(*rest)
    elif what == "draft":
        draft()
    elif what in ("check", "--check"):
        sys.exit(0 if check(*rest) else 1)
    else:
        print(__doc__)


if __name__ == "__main__":
    main()
