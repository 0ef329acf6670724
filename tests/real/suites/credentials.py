"""What people hold to be let in: it ends with a change of their entry in the configuration, with their
removal, with an admin's word, and what the terminal gives is recorded and proves no more than a mail."""

import json
import re
import sqlite3
import urllib.parse

from harness import ADMIN, ANA, BEN, Placet, Stage, equal, expect
from suites.mail import link_for, mail_notifier

POLICY = {
    "version": "1",
    "tools": {
        "work": {"action": "require_approval"},
        "peek": {"action": "require_approval", "approval": {"assurance": "session"}},
    },
}
CY = "cy-token-0123456789abcdef000"
NEW = "new-token-0123456789abcdef00"


class Browser:
    """As much of one as signing in takes: cookies, and the forms' hidden fields."""

    def __init__(self, broker):
        self.broker, self.cookies = broker, {}

    def send(self, method, path, fields=None):
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        body = None
        if fields is not None:
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.broker.url}
            body = urllib.parse.urlencode(fields)
        reply = self.broker.http(method, path, body, headers)
        for part in re.findall(r"(\w+)=([^;,]+); Path", reply.headers.get("set-cookie", "")):
            self.cookies[part[0]] = part[1]
        return reply

    def form(self, page, **fields):
        token = re.search(r'name="form_token" value="([^"]+)"', page.text)
        expect(token, f"a form on {page.text[:300]}")
        return {"form_token": token[1], **fields}

    def sign_in(self, token):
        page = self.send("GET", "/sign-in")
        done = self.send("POST", "/sign-in", self.form(page, token=token))
        equal(done.status, 303, f"signing in ({done.text[:200]})")
        return self

    def follow(self, link):
        path = urllib.parse.urlsplit(link).path
        done = self.send("POST", path, self.form(self.send("GET", path)))
        equal(done.status, 303, f"signing in by a link ({done.text[:200]})")
        return self

    def signed_in(self):
        return self.send("GET", "/settings").status == 200

    def make_token(self):
        fields = {"name": "ci", "days": "2", "read": "1", "decide": "1", "manage": "1"}
        page = self.send("POST", "/settings/tokens", self.form(self.send("GET", "/settings"), **fields))
        return re.search(r"plt_own_[\w-]+", page.text)[0]


def reviewers(**cy):
    return [
        {"name": "cy", "email": "cy@example.org", "role": "admin", "token": CY, **cy},
        {"name": "ana", "email": "ana@example.org", "token": ANA},
        {"name": "ben", "email": "ben@example.org", "token": BEN},
        {"name": "root", "email": "root@example.org", "role": "admin", "token": ADMIN},
    ]


def run(report):
    with Stage(report) as stage:
        upstream, sink = stage.slow_upstream(), stage.mail_sink()
        slow = {"name": "slow", "url": upstream.url, "policy": POLICY}
        broker = Placet(stage, [slow], reviewers=reviewers(), notifiers=[mail_notifier(sink)]).start()
        calls = []

        def restart(people):
            equal(broker.stop(), 0, "exit code")
            broker.config["reviewers"] = people
            broker.write()
            broker.start()

        def held():
            """A cookie, a personal token and a mailed link of cy's."""
            arguments = {"id": f"call-{len(calls)}"}
            calls.append(broker.mcp("slow").begin_call("work", arguments))
            id = broker.pending(arguments)["id"]
            browser = Browser(broker).sign_in(CY)
            return browser, browser.make_token(), link_for(sink, "cy@example.org", id)[1]

        def works(browser, token, link):
            page = broker.http("GET", link)
            return {
                "cookie": browser.signed_in(),
                "token": broker.api("GET", "/me", token=token).status == 200,
                "link": page.status == 200 and 'value="approve"' in page.text,
            }

        everything = {"cookie": True, "token": True, "link": True}
        nothing = {"cookie": False, "token": False, "link": False}

        with report.case("what a person holds works, and stays over a restart"):
            mine = held()
            equal(works(*mine), everything, "before")
            restart(reviewers(groups=["oncall"]))
            equal(works(*mine), everything, "after a restart with another group")
            restart(reviewers())

        for what, change in (
            ("a new token", {"token": NEW}),
            ("a new address", {"email": "cyril@example.org"}),
            ("another role", {"role": "reviewer"}),
        ):
            with report.case(f"{what} in the configuration ends cookie, personal token and mailed link for good"):
                mine = held()
                restart(reviewers(**change))
                equal(works(*mine), nothing, "with the new entry")
                restart(reviewers())
                equal(works(*mine), nothing, "with the old entry again")

        with report.case("a person who is removed and added again holds nothing of before"):
            mine = held()
            restart(reviewers()[1:])
            equal(works(*mine), nothing, "removed")
            restart(reviewers())
            equal(works(*mine), nothing, "added again")
            equal(broker.http("GET", mine[2]).status, 410, "the link says so")

        with report.case("an admin signs another out everywhere, over the API; others can't"):
            browser = Browser(broker).sign_in(BEN)
            token = browser.make_token()
            for who, status in ((BEN, 403), (token, 403), ("x" * 24, 401)):
                broker.api("POST", "/people/cy/sign-out", token=who, status=status)
            broker.api("POST", "/people/nobody/sign-out", token=ADMIN, status=404)
            ended = broker.api("POST", "/people/ben/sign-out", token=ADMIN, status=200).json()
            equal((ended["name"], ended["sessions"], ended["tokens"]), ("ben", 1, 1), "what was ended")
            expect(not browser.signed_in(), "the session is over")
            broker.api("GET", "/me", token=token, status=401)

        with report.case("an admin signs another out everywhere on the page"):
            ben, root = Browser(broker).sign_in(BEN), Browser(broker).sign_in(ADMIN)
            page = root.send("GET", "/people")
            equal(root.send("POST", "/people/sign-out", root.form(page, name="ben")).status, 303, "the form")
            expect(not ben.signed_in() and root.signed_in(), "ben is out, root is in")
            equal(Browser(broker).sign_in(BEN).send("GET", "/people").status, 403, "the page for others")

        def sign_in_link(*args):
            done = broker.command("sign-in-link", "ben", *args)
            equal(done.returncode, 0, done.stderr[-300:])
            return done.stdout.strip()

        with report.case("a link from the terminal is recorded, and proves a session only where it says so"):
            other = broker.mcp("slow").begin_call("peek", {"id": "b"})
            strict = broker.pending({"id": "b"})
            weak, strong = Browser(broker).follow(sign_in_link()), Browser(broker).follow(sign_in_link("--assurance", "session"))

            def approve(browser):
                page = browser.send("GET", f"/approvals/{strict['id']}")
                fields = browser.form(page, decision="approve", digest=strict["digest"])
                return browser.send("POST", f"/approvals/{strict['id']}", fields).status

            equal(approve(weak), 403, "the plain one")
            equal(approve(strong), 303, "with --assurance session")
            other.result()
            with sqlite3.connect(broker.dir / "placet.db") as db:
                made = [json.loads(r[0]) for r in db.execute("select data from audit where kind = 'sign_in_link_made'")]
            equal([m["assurance"] for m in made], ["link", "session"], "the records")
            expect(all(m["reviewer"] == "ben" for m in made), made)

        with report.case("switched off, no link is made, and the sessions that one began are over"):
            broker.config["people"] = {"sign_in_link": False}
            restart(reviewers())
            expect(not weak.signed_in() and not strong.signed_in(), "the sessions")
            done = broker.command("sign-in-link", "ben")
            equal(done.returncode, 1, "exit code")
            expect("people.sign_in_link" in done.stderr, done.stderr)
        broker.stop()
