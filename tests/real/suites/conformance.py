"""The official conformance suite against a fixture server, directly and through Placet.

The fixture (tests/conformance/server) has what the suite calls by name. In front of it stands
Placet with a policy that allows everything and no agents. Each check that the fixture passes
directly has to pass through Placet too; what does not yet, and why, stands in
tests/conformance/expected.toml, and a scenario listed there that passes is a failure of this suite.

Then the other way round: the suite's client scenarios, with Placet as the client of their servers.
"""

import concurrent.futures
import json
import re
import subprocess
import sys
import tomllib

from harness import FIXTURES, ROOT, Failed, Placet, Stage, equal, expect, fixture_server, free_port, node, node_package, python

# Scenarios that speak of the server the client reaches, which is Placet: they have to be there.
OWN = {
    "2025-11-25": {"server-session-lifecycle", "server-sse-polling", "dns-rebinding-protection"},
    "2026-07-28": {
        "server-stateless", "http-header-validation", "http-custom-header-server-validation",
        "dns-rebinding-protection", "caching", "tasks-lifecycle",
    },
}  # fmt: skip
# What a server of the other era has nothing for.
OF_ONE_ERA = ("tasks-", "server-sse-polling")
# The client scenarios of 0.2.0-alpha.12 but for those of authorization, since Placet has the
# credentials of its servers from its configuration, and elicitation-sep1034-client-defaults, which
# is about what the client behind Placet fills in.
AS_CLIENT = [
    "initialize", "tools_call", "sse-retry", "request-metadata", "http-standard-headers", "http-custom-headers",
    "http-invalid-tool-headers", "sep-2322-client-request-state", "json-schema-ref-no-deref",
    "json-schema-2020-12-preservation",
]  # fmt: skip
# Seconds for one run of the suite: it takes ten.
PATIENCE = 100
BAD = {"FAILURE", "WARNING"}


class Lane:
    """One version of the suite with one set of scenarios, and the era that the server behind
    Placet speaks."""

    def __init__(self, name, package, era, *options, like=None):
        self.name, self.package, self.era, self.options = name, package, era, options
        self.like = like  # the lane whose direct run is also this one's
        self.why = {}

    def prepare(self, stage):
        port = free_port()
        key = self.name.replace(" ", "-")
        server = stage.start([fixture_server(), port], f"fixture-{key}")
        stage.wait_port(port, server, "the fixture server")
        self.url = f"http://127.0.0.1:{port}/mcp"
        upstream = {
            "name": "suite", "url": self.url, "era": self.era, "policy": {"version": "1", "default": "allow"},
            "client_features": ["elicitation", "roots", "sampling"],
        }  # fmt: skip
        self.broker = Placet(stage, [upstream], name=f"placet-{key}", agents=[]).start()
        self.dir = stage.dir / f"results-{key}"

    def run(self):
        if self.like is None:
            self.direct = self.results("direct", self.url)
        self.proxied = self.results("proxied", f"{self.broker.url}/mcp/suite")

    def results(self, name, url):
        """Runs the suite: scenario -> its checks."""
        out = self.dir / name
        index = node_package(f"{self.package}/dist/index.js")
        argv = [node(), index, "server", "--url", url, "-o", str(out), *self.options]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        found = {}
        for file in sorted(out.glob("server-*/checks.json")):
            scenario = re.fullmatch(r"server-(.+?)-\d{4}-\d\d-\d\dT[\d-]+Z", file.parent.name)
            expect(scenario, f"{file.parent.name} is the name of a result")
            found[scenario[1]] = json.loads(file.read_text())
        expect(found, f"the suite ran: {done.stderr[-300:]} {done.stdout[-300:]}")
        return found

    def report(self, report):
        direct, proxied = (self.like or self).direct, self.proxied
        with report.case(f"{self.name}: both runs have the same scenarios, Placet's own among them"):
            equal(sorted(proxied), sorted(direct), "scenarios")
            missing = OWN.get(self.name, set()) - set(proxied)
            expect(not missing, f"not run: {sorted(missing)}")
            unknown = set(self.why) - set(proxied)
            expect(not unknown, f"expected.toml names what does not exist: {sorted(unknown)}")
        for scenario in sorted(direct):
            if self.like and scenario.startswith(OF_ONE_ERA):
                continue
            with report.case(f"{self.name}: {scenario}"):
                self.compare(scenario, direct[scenario], proxied.get(scenario, []))

    def compare(self, scenario, direct, proxied):
        wrong = failures(direct)
        expect(not wrong, f"the fixture itself fails: {wrong}")
        wrong = failures(proxied)
        # A check that was not reached failed too, however good the rest looks. INFO is what the
        # suite says where a server may choose, and chose otherwise.
        reached = named(proxied, "SUCCESS", "INFO")
        wrong += [f"{check} was not reached" for check in sorted(named(direct, "SUCCESS") - reached)]
        why = self.why.get(scenario)
        if isinstance(why, dict):  # these checks may fail, the others have to pass
            known = [w for w in wrong if w.split(":")[0].split(" ")[0] in why["checks"]]
            expect(len(known) == len(wrong), "; ".join(w for w in wrong if w not in known))
        if why is None:
            expect(not wrong, "; ".join(wrong))
        elif not wrong:
            raise Failed(f"passes, and expected.toml still says: {why}")


def named(checks, *statuses):
    return {c["id"] for c in checks if c["status"] in statuses}


def failures(checks):
    return [f"{c['id']}: {c.get('errorMessage', '')[:300]}" for c in checks if c["status"] in BAD]


def as_client(stage, scenario):
    """Runs a client scenario: its checks."""
    out = stage.dir / "as-client" / scenario
    client = f"{sys.executable} -B {FIXTURES / 'conformance_client.py'}"
    argv = [node(), node_package("conformance-modern/dist/index.js"), "client", "--command", client,
            "--scenario", scenario, "--timeout", str(PATIENCE * 1000 // 2), "-o", str(out)]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    files = list(out.glob("*/checks.json"))
    equal(len(files), 1, f"results ({done.stdout[-300:]} {done.stderr[-300:]})")
    return json.loads(files[0].read_text()), (files[0].parent / "stderr.txt").read_text()


# What a legacy client is asked while a request runs.
LIVE = ["tools-call-elicitation", "tools-call-sampling"]


def python_server(stage):
    """A server of both eras on PyPI's `mcp` 2.x, over HTTP and as a child: scenario -> its checks, for each way."""
    port = free_port()
    argv = [python("mcp2"), "-B", FIXTURES / "both_eras.py"]
    server = stage.start([*argv, port], "both-eras")
    stage.wait_port(port, server, "the server of both eras")
    url = f"http://127.0.0.1:{port}/mcp"
    more = {"policy": {"version": "1", "default": "allow"}, "client_features": ["elicitation", "roots", "sampling"]}
    upstreams = [
        {"name": "http", "url": url, **more},
        {"name": "stdio", "command": [str(a) for a in argv], "env": stage.upstream_env(), **more},
    ]
    broker = Placet(stage, upstreams, name="placet-both-eras", agents=[]).start()
    ways = {"directly": url, "over HTTP": f"{broker.url}/mcp/http", "as a child": f"{broker.url}/mcp/stdio"}
    return {(way, scenario): live(stage, way, at, scenario) for way, at in ways.items() for scenario in LIVE}


def live(stage, way, url, scenario):
    out = stage.dir / "both-eras" / way.replace(" ", "-") / scenario
    index = node_package("conformance-modern/dist/index.js")
    argv = [node(), index, "server", "--url", url, "--scenario", scenario, "-o", str(out)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    files = list(out.glob("*/checks.json"))
    equal(len(files), 1, f"results ({done.stdout[-300:]} {done.stderr[-300:]})")
    return json.loads(files[0].read_text())


def run(report):
    legacy = Lane("2025-11-25", "conformance-modern", "legacy", "--requirements", "2025-11-25")
    modern = Lane("2026-07-28", "conformance-modern", "modern", "--requirements", "2026-07-28")
    lanes = [
        Lane("0.1.16", "conformance-legacy", "legacy"),
        legacy,
        modern,
        # Across eras.
        Lane("2025-11-25 at a modern server", legacy.package, "modern", *legacy.options, like=legacy),
        Lane("2026-07-28 at a legacy server", modern.package, "legacy", *modern.options, like=modern),
        # The default: the fixture speaks both, and each client is served in its own.
        Lane("2025-11-25 at a server of both eras", legacy.package, "auto", *legacy.options, like=legacy),
        Lane("2026-07-28 at a server of both eras", modern.package, "auto", *modern.options, like=modern),
    ]
    expected = tomllib.loads((ROOT / "tests/conformance/expected.toml").read_text())
    with report.case("expected.toml gives a reason for each failure of a run that exists"):
        equal(sorted(set(expected) - {lane.name for lane in lanes}), [], "unknown runs")
        for lane in lanes:
            lane.why = expected.get(lane.name, {})
            reasons = [w["why"] if isinstance(w, dict) else w for w in lane.why.values()]
            expect(all(len(reason) > 20 for reason in reasons), f"reasons in {lane.name}")
    with Stage(report) as stage:
        # Not in threads: what a thread started ends with it.
        for lane in lanes:
            lane.prepare(stage)
        with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
            list(pool.map(Lane.run, lanes))
        # Each starts a Placet of its own.
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            as_clients = list(pool.map(lambda scenario: as_client(stage, scenario), AS_CLIENT))
        both_eras = python_server(stage)
        for lane in lanes:
            lane.report(report)
        for (way, scenario), checks in both_eras.items():
            with report.case(f"a Python server of both eras, {way}: {scenario}"):
                wrong = failures(checks)
                expect(not wrong, "; ".join(wrong))
                expect(named(checks, "SUCCESS"), "something was checked")
        for scenario, (checks, said) in zip(AS_CLIENT, as_clients):
            with report.case(f"as a client: {scenario}"):
                wrong = failures(checks)
                expect(not wrong, "; ".join(wrong))
                expect(named(checks, "SUCCESS"), f"nothing was checked: {said[-300:]}")
