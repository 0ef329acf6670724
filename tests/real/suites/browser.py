"""A person's way: the mailed link in a real browser, with and without scripts, wide and at 360
pixels, and the queue after signing in."""

import os

from harness import ANA, Placet, Stage, equal, expect, pictures, text_of, visit
from suites.mail import POLICY, link_for, mail_notifier


def run(report):
    shots = pictures()
    with Stage(report) as stage:
        upstream, sink = stage.slow_upstream(), stage.mail_sink()
        broker = Placet(
            stage,
            [{"name": "slow", "url": upstream.url, "policy": POLICY}],
            notifiers=[mail_notifier(sink)],
        ).start()
        mcp = broker.mcp("slow")

        def held(id, **more):
            arguments = {"id": id, **more}
            call = mcp.begin_call("work", arguments)
            return call, broker.pending(arguments)["id"]

        for name, script, width, button, wanted in (
            ("with scripts", True, 1280, "Approve", "completed"),
            ("without scripts", False, 1280, "Approve", "completed"),
            ("at 360 pixels", True, 360, "Approve", "completed"),
            ("at 360 pixels, without scripts", False, 360, "Reject", "rejected"),
        ):
            with report.case(f"{name}: the mailed link, the arguments, {button}"):
                word = name.replace(" ", "-").replace(",", "")
                call, id = held(word, path="/srv/very/long/" + "deep/" * 30, hidden="a\u202eb\u200bc")
                _, link = link_for(sink, "ana@example.org", id)
                seen = visit(
                    "browser.mjs", url=broker.url + link, script=script, width=width, click=button,
                    fill={"Reason": "seen in a browser"}, screenshot=str(shots / f"review-{word}.png"),
                )  # fmt: skip
                expect(word in seen["before"], f"the arguments are shown: {seen['before'][:400]}")
                expect("\u202e" not in seen["before"] and "\u200b" not in seen["before"], "invisible characters")
                equal(sorted(b for b in seen["buttons"] if b in ("Approve", "Reject")), ["Approve", "Reject"], "buttons")
                expect(seen["scrollWidth"] <= width, f"{seen['scrollWidth']} px wide at {width}")
                equal(seen["problems"], [], "console errors")
                approval = broker.state(id, wanted)
                equal(approval["decisions"][0]["reviewer"], "ana", "who decided")
                equal(approval["decisions"][0]["reason"], "seen in a browser", "the reason")
                call.result()
                equal(upstream.started(word), 1 if wanted == "completed" else 0, "executions")

        with report.case("folded values must be unfolded before Approve is there"):
            call, id = held("long", text="x" * 3000)
            _, link = link_for(sink, "ana@example.org", id)
            folded = visit("browser.mjs", url=broker.url + link, script=False, width=360)
            expect("Approve" not in folded["buttons"] and "Reject" in folded["buttons"], f"{folded['buttons']}")
            expect("3000" in folded["before"] or "3,000" in folded["before"], "the length is said")
            full = visit("browser.mjs", url=f"{broker.url}{link}?full=1", script=False, width=360, click="Approve")
            expect(full["scrollWidth"] <= 360, f"{full['scrollWidth']} px wide at 360")
            equal(text_of(call.result()), "did work long", "the answer")

        for script in (True, False):
            word = "with" if script else "without"
            with report.case(f"signed in by token, the queue decides ({word} scripts)"):
                call, id = held(f"queue-{word}")
                seen = visit(
                    "browser.mjs", url=f"{broker.url}/sign-in", script=script, width=360, token=ANA,
                    then=[f"{broker.url}/", f"{broker.url}/approvals/{id}"], click="Approve",
                    screenshot=str(shots / f"approval-{word}.png"), shots={"/": str(shots / f"queue-{word}.png")},
                )  # fmt: skip
                expect("work" in seen["pages"][0], f"the queue shows the call: {seen['pages'][0][:300]}")
                expect(f"queue-{word}" in seen["before"], f"the arguments are shown: {seen['before'][:300]}")
                expect(seen["scrollWidth"] <= 360, f"{seen['scrollWidth']} px wide at 360")
                equal(seen["problems"], [], "console errors")
                approval = broker.state(id, "completed")
                equal(approval["decisions"][0]["via"], "web", "via")
                call.result()

        with report.case("without a session every page leads to the sign-in"):
            for path in ("/", "/history", "/tools", "/audit", "/approvals/apr_" + "0" * 32):
                page = broker.http("GET", path)
                equal((page.status, page.headers.get("location", "").split("?")[0]), (303, "/sign-in"), path)
        if os.environ.get("PLACET_REAL_KEEP"):
            print(f"screens: {shots}")
