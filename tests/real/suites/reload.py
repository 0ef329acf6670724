"""The configuration changes while the broker runs, and SIGHUP has its policies read again: what was
added, changed and removed is in force then, and what can't be read changes nothing."""

import json
import signal

from harness import ADMIN, AGENT, Placet, Stage, code_of, equal, expect, text_of, until

POLICY = {"version": "1", "tools": {"work": {"action": "allow"}, "peek": {"action": "require_approval"}}}
DENIES = {"version": "1", "tools": {"work": {"action": "deny", "reason": "Not today."}}}


def run(report):
    with Stage(report) as stage:
        upstream = stage.slow_upstream()
        one = {"name": "one", "url": upstream.url, "policy": POLICY}
        two = {"name": "two", "url": upstream.url, "policy": POLICY}
        broker = Placet(stage, [one, two]).start()
        log = stage.dir / "placet.log"

        def reload(said):
            """SIGHUP; waits until the log has said that after it."""
            before = len(log.read_text())
            broker.process.send_signal(signal.SIGHUP)
            until(lambda: said in log.read_text()[before:], 15, f"the log says {said!r}")
            return log.read_text()[before:]

        def work(name):
            return broker.mcp(name).call("work", {"id": "x"})

        def ready():
            return broker.http("GET", "/readyz").json()["status"]

        with report.case("a policy file that changed is in force after SIGHUP"):
            expect("did work" in text_of(work("one")), "it is allowed before")
            (broker.dir / "one.json").write_text(json.dumps(DENIES))
            reload("policies reloaded: 0 added, 1 changed, 0 removed, 1 unchanged")
            equal(code_of(work("one")), "policy_denied", "after")
            expect("did work" in text_of(work("two")), "the other is as it was")

        with report.case("a policy file that is broken, or gone, keeps all policies and turns readyz to degraded"):
            (broker.dir / "one.json").write_text('{"version": "1", "tolls": {}}')
            reload("policies are not reloaded")
            equal((code_of(work("one")), ready()), ("policy_denied", "degraded"), "with a wrong key")
            (broker.dir / "one.json").unlink()
            two.pop("policy")
            broker.write()
            reload("policies are not reloaded")
            expect("did work" in text_of(work("two")), "the removed line waits for a reload that succeeds")
            equal(ready(), "degraded", "with the file gone")

        with report.case("a policy line that was removed is gone after SIGHUP: everything is denied and recorded"):
            (broker.dir / "one.json").write_text(json.dumps(POLICY))
            said = reload("policies reloaded: 0 added, 1 changed, 1 removed, 0 unchanged")
            expect("policy of two removed" in said, said)
            equal(code_of(work("two")), "policy_denied", "the one without a line")
            expect("did work" in text_of(work("one")), "the one that was mended")
            equal(ready(), "ok", "readyz")

            def recorded():
                records = broker.api("GET", "/audit?limit=1000", token=ADMIN, status=200).json()["records"]
                return any(r["kind"] == "policy_removed" and "two" in json.dumps(r["data"]) for r in records)

            until(recorded, 10, "policy_removed is recorded")

        with report.case("an upstream that was removed is denied after SIGHUP, and one that is new waits for a restart"):
            broker.config["upstreams"] = [dict(one, name="three")]
            broker.config["agents"] = [{"name": "agent", "token": AGENT}, {"name": "new", "token": "n" * 24}]
            broker.write()
            said = reload("policies reloaded")
            equal(code_of(work("one")), "policy_denied", "the removed one")
            expect("three" in said and "restart" in said, said)
            expect("[[agents]] changed" in said, said)
        broker.stop()
