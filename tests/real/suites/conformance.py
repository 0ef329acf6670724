"""The official conformance suite against a fixture server, directly and through Placet.

The fixture (tests/conformance/server) has what the suite calls by name. In front of it stands
Placet with a policy that allows everything and no agents. Each check that the fixture passes
directly has to pass through Placet too; what does not yet, and why, stands in
tests/conformance/expected.toml, and a scenario listed there that passes is a failure of this suite.
"""

import concurrent.futures
import json
import re
import subprocess
import tomllib

from harness import ROOT, Failed, Placet, Stage, equal, expect, fixture_server, free_port, node, node_package

# Scenarios that speak of the server the client reaches, which is Placet: they have to be there.
OWN = {
    "2025-11-25": {"server-session-lifecycle", "server-sse-polling", "dns-rebinding-protection"},
    "2026-07-28": {
        "server-stateless", "http-header-validation", "http-custom-header-server-validation",
        "dns-rebinding-protection", "caching", "tasks-lifecycle",
    },
}  # fmt: skip
# Seconds for one run of the suite: it takes ten.
PATIENCE = 100
BAD = {"FAILURE", "WARNING"}


class Lane:
    """One version of the suite with one set of scenarios, against one pair of servers."""

    def __init__(self, name, package, era, *options):
        self.name, self.package, self.era, self.options = name, package, era, options
        self.why = {}

    def prepare(self, stage):
        port = free_port()
        key = self.name.replace(" ", "-")
        server = stage.start([fixture_server(), port], f"fixture-{key}")
        stage.wait_port(port, server, "the fixture server")
        self.url = f"http://127.0.0.1:{port}/mcp"
        upstream = {
            "name": "suite", "url": self.url, "era": self.era, "policy": {"version": "1", "default": "allow"},
        }  # fmt: skip
        self.broker = Placet(stage, [upstream], name=f"placet-{key}", agents=[]).start()
        self.dir = stage.dir / f"results-{key}"

    def run(self):
        return self.results("direct", self.url), self.results("proxied", f"{self.broker.url}/mcp/suite")

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

    def report(self, report, direct, proxied):
        with report.case(f"{self.name}: both runs have the same scenarios, Placet's own among them"):
            equal(sorted(proxied), sorted(direct), "scenarios")
            missing = OWN.get(self.name, set()) - set(proxied)
            expect(not missing, f"not run: {sorted(missing)}")
            unknown = set(self.why) - set(proxied)
            expect(not unknown, f"expected.toml names what does not exist: {sorted(unknown)}")
        for scenario in sorted(direct):
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
        if why is None:
            expect(not wrong, "; ".join(wrong))
        elif not wrong:
            raise Failed(f"passes, and expected.toml still says: {why}")


def named(checks, *statuses):
    return {c["id"] for c in checks if c["status"] in statuses}


def failures(checks):
    return [f"{c['id']}: {c.get('errorMessage', '')[:300]}" for c in checks if c["status"] in BAD]


def run(report):
    lanes = [
        Lane("0.1.16", "conformance-legacy", "legacy"),
        Lane("2025-11-25", "conformance-modern", "legacy", "--requirements", "2025-11-25"),
        Lane("2026-07-28", "conformance-modern", "modern", "--requirements", "2026-07-28"),
    ]
    expected = tomllib.loads((ROOT / "tests/conformance/expected.toml").read_text())
    with report.case("expected.toml gives a reason for each failure of a run that exists"):
        equal(sorted(set(expected) - {lane.name for lane in lanes}), [], "unknown runs")
        for lane in lanes:
            lane.why = expected.get(lane.name, {})
            expect(all(isinstance(w, str) and len(w) > 20 for w in lane.why.values()), f"reasons in {lane.name}")
    with Stage(report) as stage:
        # Not in threads: what a thread started ends with it.
        for lane in lanes:
            lane.prepare(stage)
        with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
            both = list(pool.map(lambda lane: lane.run(), lanes))
        for lane, (direct, proxied) in zip(lanes, both):
            lane.report(report, direct, proxied)
