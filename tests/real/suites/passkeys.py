"""Passkeys in Chromium, with its virtual authenticator: added, asked for, refused, removed."""

import sqlite3

from harness import ANA, Placet, Stage, equal, expect, pictures, text_of
from suites.desk import BEN, Browser

POLICY = {
    "version": "1",
    "default": "deny",
    "tools": {"work": {"action": "require_approval", "approval": {"assurance": "passkey"}}},
}


def run(report):
    shots = pictures()
    with Stage(report) as stage:
        upstream = stage.slow_upstream()
        broker = Placet(
            stage, [{"name": "slow", "url": upstream.url, "policy": POLICY}], host="localhost",
            reviewers=[{"name": "ana", "token": ANA}, {"name": "ben", "token": BEN}],
        ).start()  # fmt: skip
        mcp = broker.mcp("slow")

        def held(id):
            arguments = {"id": id}
            return mcp.begin_call("work", arguments), broker.pending(arguments)["id"]

        calls = [held("first"), held("second")]
        ids = [id for _, id in calls]
        browser = Browser(url=broker.url, token=ANA, do="passkey", ids=ids)

        with report.case("a passkey is added under Settings and approves, recorded as such"):
            browser.ready()
            decision = broker.state(ids[0], "completed")["decisions"][0]
            equal((decision["via"], decision["assurance"]), ("web", "passkey"), "the decision")
            expect("did work" in text_of(calls[0][0].result()), "the call ran")

        with report.case("without the person the device gives nothing, and nothing is decided"):
            equal(broker.approval(ids[1])["state"], "pending", "the second call")

        with report.case("every page of it: axe, html-validate, width"):
            pages = {"passkey": f"/approvals/{ids[1]}", "passkeys": "/settings"}
            looked = Browser(url=broker.url, token=ANA, do="look", pages=pages, shots=str(shots)).seen()
            wrong = [
                f"{page['name']} {page['width']} {page['colorScheme']}: {problem}"
                for page in looked["pages"]
                for problem in [*page["violations"], *page["invalid"]]
                + ([f"{page['wide']} px wide"] if page["wide"] > page["width"] else [])
            ]
            expect(not wrong, "\n".join(wrong))

        with report.case("without scripts it says what is missing, and does not approve"):
            seen = Browser(url=broker.url, token=ANA, do="unscripted", id=ids[1]).seen()
            expect("That needs scripts" in seen["before"], seen["before"])
            expect("needs a passkey" in seen["after"], seen["after"])
            equal(broker.approval(ids[1])["state"], "pending", "nothing is decided")

        with report.case("a removed passkey counts no more, and rejecting goes on"):
            browser.go_on()
            seen = browser.seen()
            expect("needs a passkey of yours" in seen["none"], seen["none"])
            expect("Approve" not in seen["none"].split("Reason")[-1][:200], seen["none"])
            expect("nothing was decided" in seen["unverified"], seen["unverified"])
            equal([c[:2] for c in seen["credentials"]], [["localhost", True]], "credentials")
            expect("needs a passkey of yours" in seen["removed"], seen["removed"])
            equal(broker.state(ids[1], "rejected")["decisions"][0]["reason"], "no device", "the decision")
            calls[1][0].result()
            equal([p for p in seen["problems"] if "403" not in p], [], "console errors")

        with report.case("the audit has it all, and its chain holds"):
            with sqlite3.connect(broker.dir / "placet.db") as db:
                kinds = {row[0] for row in db.execute("select kind from audit")}
            equal(broker.command("audit", "verify").returncode, 0, "audit verify")
            for kind in ("passkey_added", "passkey_used", "passkey_removed"):
                expect(kind in kinds, f"{kind} in {sorted(kinds)}")
