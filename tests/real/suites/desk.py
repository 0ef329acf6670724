"""The reviewer's desk in a real browser: the queue that follows what happens, keys, several
decisions at once, two people who press together; and every page in both themes and two widths,
looked at by axe and html-validate."""

import json
import subprocess
import threading

from harness import ADMIN, ANA, FIXTURES, ROOT, Placet, Stage, equal, expect, html_of, node, screens, text_of
from suites.mail import link_for, mail_notifier

POLICY = {"version": "1", "tools": {"work": {"action": "require_approval"}, "peek": {"action": "allow"}}}
BEN = "ben-token-0123456789abcdef"


class Browser:
    """fixtures/desk.mjs, which may have to be answered once it is ready."""

    def __init__(self, **steps):
        self.process = subprocess.Popen(
            [node(), FIXTURES / "desk.mjs", json.dumps(steps)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.timer = threading.Timer(180, self.process.kill)
        self.timer.start()

    def ready(self):
        line = self.process.stdout.readline().strip()
        if line != "ready":
            self.process.kill()
            expect(False, f"the browser: {line} {self.process.communicate()[1][-800:]}")

    def go_on(self):
        """Lets one go on that waits."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def seen(self):
        out, err = self.process.communicate()
        self.timer.cancel()
        expect(self.process.returncode == 0, f"the browser: {err[-800:]}")
        return json.loads(out.splitlines()[-1])


def run(report):
    shots = screens()
    with Stage(report) as stage:
        upstream = stage.slow_upstream()
        broker = Placet(
            stage, [{"name": "slow", "url": upstream.url, "policy": POLICY}],
            reviewers=[
                {"name": "ana", "token": ANA}, {"name": "ben", "token": BEN},
                {"name": "admin", "role": "admin", "token": ADMIN},
            ],
        ).start()  # fmt: skip
        mcp = broker.mcp("slow")

        def held(id, **more):
            return mcp.held("work", {"id": id, **more})

        with report.case("a call that comes appears within a second, and the tab counts it"):
            browser = Browser(url=broker.url, token=ANA, do="live", text="comes-live")
            browser.ready()
            call, id = held("comes-live")
            came = broker.approval(id)["created_at"]
            seen = browser.seen()
            # Both clocks are this machine's.
            from datetime import datetime

            late = seen["at"] / 1000 - datetime.fromisoformat(came.replace("Z", "+00:00")).timestamp()
            expect(late < 1, f"it took {late:.2f} s")
            expect(seen["title"].startswith("(1) "), seen["title"])
            expect(not seen["before"].startswith("("), seen["before"])
            expect(seen["icon"].startswith("data:image/svg+xml"), seen["icon"][:60])
            equal(seen["problems"], [], "console errors")
            broker.decide(id, "reject")
            call.result()

        with report.case("from the queue to the decision by keyboard alone"):
            first, _ = held("keys-1")
            second, _ = held("keys-2")
            seen = Browser(url=broker.url, token=ANA, do="keyboard").seen()
            equal((seen["help"], seen["closed"]), (True, True), "the help opens and closes")
            equal((seen["focus"], seen["button"]), ("reason", "Approve"), "what the keys lead to")
            equal(seen["problems"], [], "console errors")
            id = seen["path"].split("/")[-1]
            decision = broker.state(id, "completed")["decisions"][0]
            equal((decision["via"], decision["reason"]), ("web", "by keyboard a j k"), "the decision")
            for other in broker.approvals(state="pending"):
                expect(other["id"] != id, "it is decided")
                broker.decide(other["id"], "reject")
            texts = {text_of(call.result())[:8] for call in (first, second)}
            expect("did work" in texts, f"one ran: {texts}")

        with report.case("the raw JSON of a call is copied, unseen characters as escapes"):
            arguments = {"id": "copied", "note": "a\u202eb <i> \U000e0041"}
            call, id = held(**arguments)
            seen = Browser(url=broker.url, token=ANA, do="copy", id=id).seen()
            equal(seen["problems"], [], "console errors")
            equal(json.loads(seen["copied"]), arguments, "what was copied")
            expect(seen["copied"].isascii(), seen["copied"])
            broker.decide(id, "reject")
            call.result()

        for script in (True, False):
            word = "with" if script else "without"
            with report.case(f"several are rejected at once ({word} scripts)"):
                calls = [held(f"bulk-{word}-{n}") for n in range(3)]
                browser = Browser(
                    url=broker.url, token=ANA, do="bulk", texts=[f"bulk-{word}-0", f"bulk-{word}-2"],
                    options={"javaScriptEnabled": script}, comes=f"bulk-{word}-late" if script else None,
                )  # fmt: skip
                browser.ready()
                if script:
                    calls.append(held(f"bulk-{word}-late"))
                seen = browser.seen()
                equal(seen["ticked"], 2, "ticked, also after the queue has moved")
                expect("2 of 2 rejected" in seen["after"], seen["after"])
                states = [broker.approval(id)["state"] for _, id in calls]
                equal(states[:3], ["rejected", "pending", "rejected"], "states")
                equal(broker.approval(calls[0][1])["decisions"][0]["reason"], "not tonight", "the reason")
                for _, id in calls:
                    if broker.approval(id)["state"] == "pending":
                        broker.decide(id, "reject")
                for call, _ in calls:
                    call.result()

        with report.case("two people press at once: one decides, the other is told who did"):
            call, id = held("race")
            seen = Browser(url=broker.url, token=ANA, other=BEN, do="race", id=id).seen()
            state = broker.state(id, ("completed", "rejected"))
            equal(len(state["decisions"]), 1, "decisions")
            winner = state["decisions"][0]["reviewer"]
            told = seen["after"][1 if winner == "ana" else 0]
            expect(f"by {winner}" in told and "Already" in told, told[:300])
            equal(seen["problems"], [], "console errors")
            call.result()

        with report.case("every page, both themes, 360 and 1280 px: axe, html-validate, width"):
            open_call, id = held("looked-at", path="/srv/data/" + "deep/" * 20, password="hunter2", odd="a\u202eb")
            long_call, long_id = held("looked-at-long", text="x" * 3000)
            done_call, done_id = held("looked-at-done")
            broker.decide(done_id)
            done_call.result()
            pages = {
                "queue": "/", "approval": f"/approvals/{id}", "folded": f"/approvals/{long_id}",
                "done": f"/approvals/{done_id}", "history": "/history", "tools": "/tools", "agents": "/agents",
                "upstreams": "/upstreams", "grants": "/grants", "audit": "/audit", "settings": "/settings",
                "people": "/people",
            }  # fmt: skip
            seen = Browser(url=broker.url, token=ADMIN, do="look", pages=pages, shots=str(shots)).seen()
            equal(len(seen["pages"]), len(pages) * 4, "pages looked at")
            wrong = []
            for page in seen["pages"]:
                at = f"{page['name']} {page['width']} {page['colorScheme']}"
                wrong += [f"{at}: {v}" for v in page["violations"] + page["invalid"]]
                if page["wide"] > page["width"]:
                    wrong.append(f"{at}: {page['wide']} px wide")
            expect(not wrong, "\n".join(dict.fromkeys(wrong)))
            for each in (id, long_id):
                broker.decide(each, "reject")
            for call in (open_call, long_call):
                call.result()

        with report.case("no hostile string runs, becomes an element, hides, or widens the page"):
            corpus = [e for e in json.loads((ROOT / "tests/corpus/hostile.json").read_text()) if "value" in e]
            texts = [e["value"] * e.get("repeat", 1) for e in corpus]
            groups = [texts[n : n + 12] for n in range(0, len(texts), 12)]
            opened = []
            for n, group in enumerate(groups):
                # An own id first, so that no key of the corpus meets another.
                arguments = {"id": f"hostile-{n}", **{f"value {i}": text for i, text in enumerate(group)}}
                # As keys too, but for those that would make the call larger than calls may be.
                arguments |= {text: i for i, text in enumerate(group) if len(text) < 60_000}
                client = {"name": group[0][:100], "version": group[1][:90]}
                meta = {"io.modelcontextprotocol/clientInfo": client, "reason": group[2], group[3]: 1}
                opened.append((mcp.begin_call("work", arguments, meta), broker.pending(arguments)["id"]))
            paths = [f"/approvals/{id}?full=1" for _, id in opened]
            pending = Browser(url=broker.url, token=ADMIN, do="hostile", paths=[*paths, "/"]).seen()
            for (call, id), group in zip(opened, groups):
                short = [text for text in group if text.strip() and len(text) < 2000]
                broker.decide(id, "reject", reason=short[-1])
                call.result()
            decided = Browser(url=broker.url, token=ADMIN, do="hostile", paths=[*paths, "/history", "/audit"]).seen()
            wrong = [*pending["problems"], *decided["problems"]]
            for page in pending["pages"] + decided["pages"]:
                at = page["path"]
                equal(page["pwned"], "undefined", f"{at}: what ran")
                wrong += [f"{at}: {key} {page[key]}" for key in ("foreign", "handlers", "links", "unseen") if page[key]]
                if page["wide"] > 360:
                    wrong.append(f"{at}: {page['wide']} px wide: {page['over']}")
            expect(not wrong, "\n".join(wrong))
            expect("⟦U+202E⟧" in pending["pages"][0]["text"], "what can't be seen is spelled out")
            whole = "".join(page["text"] for page in pending["pages"])
            for part in ("Latin and Cyrillic", "look Latin and are not", "pass for others", "<script>window.pwned=1</script>"):
                expect(part in whole, part)

        phone = Placet(
            stage, [{"name": "slow", "url": upstream.url, "policy": POLICY}], name="phone",
            reviewers=[{"name": "ana", "email": "ana@example.org", "token": ANA}],
            notifiers=[mail_notifier(sink := stage.mail_sink())],
        ).start()  # fmt: skip
        for button, preset, taps, reason, state in (
            ("Approve", None, 2, "", "completed"),
            ("Reject", "Wrong target.", 3, "Wrong target.", "rejected"),
        ):
            with report.case(f"a phone: from the mail to {button} in {taps} taps"):
                arguments = {"id": f"tapped-{button}", "path": "/srv/data/" + "deep/" * 20}
                call = phone.mcp("slow").begin_call("work", arguments)
                id = phone.pending(arguments)["id"]
                mail, _ = link_for(sink, "ana@example.org", id)
                file = stage.dir / f"{button}.html"
                file.write_text(html_of(mail))
                seen = Browser(mail=file.as_uri(), do="taps", button=button, preset=preset).seen()
                equal((seen["taps"], seen["reason"]), (taps, reason), "taps, and the reason before the last")
                decision = phone.state(id, state)["decisions"][0]
                equal((decision["via"], decision["reason"]), ("email", reason), "the decision")
                expect(all(width >= 44 and height >= 36 for width, height in seen["sizes"]), seen["sizes"])
                expect(seen["wide"] <= 360, f"{seen['wide']} px wide")
                equal(seen["problems"], [], "console errors")
                call.result()
