"""Mails of each kind as they arrive, drawn by Chromium at two widths and in both themes with images
off: nothing is wider than a phone, every word can be read, and the links lead to one page. The
pictures are left in target/screens for somebody to look at."""

import re
import urllib.parse

from harness import (
    ADMIN, ANA, BEN, Placet, Stage, equal, expect, html_of, pictures, plain_of, until, visit,
)  # fmt: skip
from suites.mail import mail_notifier

POLICY = {
    "version": "1",
    "tools": {
        "work": {"action": "require_approval", "reason": "What is deleted here can't be had back."},
        "brief": {"action": "require_approval"},
    },
}
LONG = {
    "datastore": "hospital-main", "path": "/srv/archive/" + "2026/radiology/" * 8, "dry_run": False, "count": 1.0,
    "password": "hunter2", "note": "Superseded by a newer scan of the same patient; kept in the cold archive. " * 3,
    "odd": "inv\u202eoice p\u0430ypal",
}  # fmt: skip


def run(report):
    shots = pictures()
    with Stage(report) as stage:
        upstream, sink = stage.slow_upstream(), stage.mail_sink()
        broker = Placet(
            stage, [{"name": "archive", "url": upstream.url, "policy": POLICY}],
            reviewers=[
                {"name": "ana", "email": "ana@example.org", "token": ANA},
                {"name": "ben", "email": "ben@example.org", "token": BEN},
                {"name": "root", "email": "root@example.org", "role": "admin", "token": ADMIN},
            ],
            notifiers=[mail_notifier(sink)], approvals={"timeout": "30m", "reminder": "1798s"},
        ).start()  # fmt: skip
        mcp = broker.mcp("archive")
        kinds = {}

        def mail(name, to, subject):
            def find():
                return next((m for m in sink.mails(to) if re.search(subject, str(m["Subject"]))), None)

            kinds[name] = until(find, 30, f"the mail {name} for {to}")

        with report.case("a mail of each kind arrives"):
            arguments = {"id": "one", **LONG}
            meta = {"io.modelcontextprotocol/clientInfo": {"name": "coding-agent", "version": "2.4"}}
            call = mcp.begin_call("work", arguments, meta)
            id = broker.pending(arguments)["id"]
            mail("requested", "ana@example.org", "^Approve ")
            mail("reminder", "ana@example.org", "^Reminder: ")
            broker.decide(id, "reject", reason="Wrong datastore: this is the hospital's own.", token=BEN)
            call.result()
            mail("rejected", "ana@example.org", "^Rejected")
            upstream.mode("die")
            arguments = {"id": "two"}
            call = mcp.begin_call("work", arguments, meta)
            broker.decide(broker.pending(arguments)["id"])
            mail("approved", "ben@example.org", "^Approved")
            mail("indeterminate", "root@example.org", "^Did it run")
            call.result()
            page = broker.http("GET", "/sign-in")
            token = re.search('name="form_token" value="([^"]*)"', page.text).group(1)
            form = urllib.parse.urlencode({"email": "ana@example.org", "form_token": token, "next": "/"})
            headers = {
                "Content-Type": "application/x-www-form-urlencoded", "Origin": broker.url,
                "Cookie": page.headers.get("set-cookie", "").split(";")[0],
            }  # fmt: skip
            broker.http("POST", "/sign-in", form, headers)
            mail("sign-in", "ana@example.org", "^Sign in")
            flood = [mcp.begin_call("brief", {"id": f"flood {n}"}) for n in range(24)]
            mail("summary", "ana@example.org", "wait for your decision")
            for approval in until(lambda: len(broker.approvals(state="pending")) == 24 and broker.approvals(state="pending"), 20, "24"):  # fmt: skip
                broker.decide(approval["id"], "reject")
            for each in flood:
                each.result()

        with report.case("the text parts: no line wider than 78 columns but a link's, and who, what, until when"):
            for name, each in kinds.items():
                for line in plain_of(each).splitlines():
                    expect(len(line) <= 78 or re.fullmatch(r"\s*https?://\S+", line), f"{name}: {len(line)}: {line}")
            for name in ("requested", "reminder"):
                text = plain_of(kinds[name])
                for part in ("agent asks to call work on archive", "It expires in ", "coding-agent/2.4", "can't be had back"):
                    expect(part in re.sub(r"\s+", " ", text), f"{name}: {part}: {text}")
                expect("hunter2" not in text + html_of(kinds[name]), "a secret")

        with report.case("drawn at 360 and 700 px, light and dark: width, contrast, links"):
            files = {}
            for name, each in kinds.items():
                files[name] = str(stage.dir / f"{name}.html")
                (stage.dir / f"{name}.html").write_text(html_of(each))
            seen = visit("mail_look.mjs", mails=files, shots=str(shots))
            equal(len(seen), len(kinds) * 4, "pictures")
            wrong = []
            for each in seen:
                at = f"{each['name']} {each['width']} {each['colorScheme']}"
                wrong += [f"{at}: {v}" for v in each["violations"]]
                wrong += [f"{at}: asked for {url}" for url in each["asked"]]
                if each["wide"] > each["width"]:
                    wrong.append(f"{at}: {each['wide']} px wide")
                if each["dark"] != (each["colorScheme"] == "dark") or not each["contrast"]:
                    wrong.append(f"{at}: dark {each['dark']}, contrast looked at {each['contrast']}")
                text = set(re.findall(r"https?://\S+/(?:review|sign-in|approvals)/?\S*", plain_of(kinds[each["name"]])))
                if len(each["links"]) != 2 or len(set(each["links"])) != 1:
                    wrong.append(f"{at}: links {each['links']}")
                if each["name"] != "summary" and text != set(each["links"]):
                    wrong.append(f"{at}: links {each['links']}, in the text {text}")
            expect(not wrong, "\n".join(wrong))
