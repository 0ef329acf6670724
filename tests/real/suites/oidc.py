"""Sign-in through a provider that nobody here wrote (npm's oidc-provider), in a real browser: to the
call that was asked for, its decision, the groups it confirms and those it does not, sign-out; what
it refuses, new keys, and what is left while it is down."""

import json

from harness import (
    ADMIN, ANA, BEN, FIXTURES, Placet, Stage, equal, expect, free_port, node, pictures, text_of, until, visit,
)  # fmt: skip

POLICY = {
    "version": "1",
    "tools": {
        "work": {
            "action": "require_approval",
            "approval": {"assurance": "session", "reviewers": ["group:oncall"]},
        }
    },
}
PEOPLE = {
    "ana": {"groups": ["staff", "sre"]},
    "ben": {"groups": ["staff"]},
    "root": {"groups": ["admins"]},
    "una": {"email": "ana@example.org", "email_verified": False, "groups": ["sre"]},
}


class Provider:
    """oidc-provider, which may be stopped and started again with other keys."""

    def __init__(self, stage):
        self.stage, self.port, self.process = stage, free_port(), None
        # Not the name Placet has: to the browser it is another site.
        self.issuer = f"http://localhost:{self.port}"

    def start(self, redirect):
        about = {"port": self.port, "redirect": redirect, "people": PEOPLE}
        self.process = self.stage.start([node(), FIXTURES / "oidc_provider.mjs", json.dumps(about)], "provider")
        self.stage.wait_port(self.port, self.process, "the provider")

    def stop(self):
        self.stage.end(self.process)


def drive(broker, **steps):
    """A person's visit, from the sign-in page unless said otherwise."""
    return visit("oidc.mjs", **{"url": broker.url, "start": "/sign-in", **steps})


def run(report):
    shots = pictures()
    with Stage(report) as stage:
        upstream, provider = stage.slow_upstream(), Provider(stage)
        broker = Placet(
            stage, [{"name": "slow", "url": upstream.url, "policy": POLICY}],
            reviewers=[
                {"name": "ana", "email": "ana@example.org", "groups": ["oncall"], "token": ANA},
                {"name": "ben", "email": "ben@example.org", "groups": ["oncall"], "token": BEN},
                {"name": "root", "email": "root@example.org", "role": "admin", "token": ADMIN},
            ],
            oidc={
                "issuer": provider.issuer, "client_id": "placet", "label": "Test Login",
                "client_secret": "a secret of the client's, & not a plain one",
                "scopes": ["email", "groups"], "groups": {"oncall": ["sre"]}, "admin_groups": ["admins"],
            },
        )  # fmt: skip
        redirect = f"{broker.url}/sign-in/oidc/callback"

        with report.case("a provider that is down is named by check and keeps nobody from starting"):
            down = broker.command("check", "--connect")
            equal(down.returncode, 1, down.stdout + down.stderr)
            expect("unreachable: oidc: " in down.stderr, down.stderr)
            broker.start()
            page = drive(broker, login="ana")["pages"][0]
            expect("sign-in provider can't be reached" in page["text"], page["text"][:400])
            provider.start(redirect)
            up = broker.command("check", "--connect")
            equal(up.returncode, 0, up.stdout + up.stderr)
            expect(redirect in up.stdout, up.stdout)
            # It is looked for again a little later, without a restart.
            back = lambda: drive(broker, login="zoe")["pages"][0]["path"].endswith("/callback")  # noqa: E731
            until(back, 40, "the provider is used")
        mcp = broker.mcp("slow")

        def held(id):
            call = mcp.begin_call("work", {"id": id})
            return call, broker.pending({"id": id})["id"]

        def records(kind):
            sealed = broker.api("GET", "/audit?limit=1000", token=ADMIN, status=200).json()["records"]
            return [r for r in sealed if r["kind"] == kind]

        for script in (True, False):
            word = "with" if script else "without"
            with report.case(f"from the call's address over the provider to its approval ({word} scripts)"):
                call, id = held(f"approved-{word}")
                seen = drive(
                    broker, start=f"/approvals/{id}", login="ana", script=script,
                    look=str(shots / "sign-in-provider.png") if script else None,
                    then=[
                        {"fill": {"Reason": "signed in elsewhere"}, "click": "Approve"},
                        {"open": "/settings"}, {"click": "Sign out"}, {"open": "/history"},
                    ],
                )  # fmt: skip
                there, approved, settings, out, after = seen["pages"]
                equal(there["path"], f"/approvals/{id}", "where the sign-in led")
                expect(seen["there"] >= 1, "the provider asked who it is")
                expect(seen["scrollWidth"] <= 360, f"{seen['scrollWidth']} px wide at 360")
                approval = broker.state(id, "completed")
                decision = approval["decisions"][0]
                equal((decision["reviewer"], decision["reason"]), ("ana", "signed in elsewhere"), "the decision")
                equal(text_of(call.result())[:8], "did work", "the answer")
                expect("single sign-on" in settings["text"], settings["text"][:600])
                equal((out["path"], after["path"]), ("/sign-in", "/sign-in"), "signed out")
                equal([c["name"] for c in seen["cookies"]], ["placet_form"], "what is left in the browser")
                equal(seen["problems"], [], "console errors")
                equal(seen.get("faults", []), [], "what axe and html-validate say of the sign-in page")

        with report.case("whom the provider does not have in the group may reject, but not approve"):
            call, id = held("unconfirmed")
            seen = drive(
                broker, start=f"/approvals/{id}", login="ben",
                then=[
                    {"click": "Approve"},
                    {"open": f"/approvals/{id}", "fill": {"Reason": "no"}, "click": "Reject"},
                ],
            )  # fmt: skip
            expect("must have confirmed lately" in seen["pages"][1]["text"], seen["pages"][1]["text"][:600])
            broker.state(id, "rejected")
            call.result()
            equal(upstream.started("unconfirmed"), 0, "executions")

        with report.case("a group is asked for whatever way somebody comes, and after a restart"):
            equal(broker.stop(), 0, "the exit code")
            broker.start()
            call, id = held("by-token")
            refused = broker.decide(id, token=BEN, status=403)
            expect("must have confirmed lately" in refused["detail"], refused["detail"])
            broker.decide(id, token=ANA)
            call.result()
            equal(upstream.started("by-token"), 1, "executions")

        with report.case("an admin manages once the provider has confirmed the role"):
            equal(broker.api("GET", "/audit", token=ADMIN).status, 403, "before")
            drive(broker, login="root")
            equal(broker.api("GET", "/audit", token=ADMIN).status, 200, "after")

        with report.case("whom it does not vouch for, who is nobody here and who cancels are not signed in"):
            for login, cancel, said in (
                ("una", False, "does not say that your e-mail address is verified"),
                ("zoe", False, "you are no reviewer here"),
                ("ana", True, "access_denied"),
            ):
                seen = drive(broker, login=login, cancel=cancel)
                page = seen["pages"][0]
                equal(page["path"], "/sign-in/oidc/callback", f"{login}: where it ends")
                expect(said in page["text"], page["text"][:400])
                expect("placet_session" not in [c["name"] for c in seen["cookies"]], f"{login} has a session")
            refused = until(lambda: len(records("sign_in_refused")) >= 4 and records("sign_in_refused"), 10, "records")[-3:]
            why = [r["data"]["why"] for r in refused]
            equal(why, ["email_not_verified", "unknown_person", "provider_said: access_denied"], "why")
            equal([r["data"].get("subject") for r in refused], ["una", "zoe", None], "who came")

        with report.case("a provider that came back with new keys is believed at once"):
            provider.stop()
            provider.start(redirect)
            seen = drive(broker, login="ana")
            equal(seen["pages"][0]["path"], "/", "where the sign-in led")

        with report.case("the chain of records holds, and names the group that was confirmed"):
            confirmed = [r for r in records("groups_confirmed") if r["actor"] == "ana"]
            equal(confirmed[0]["data"]["groups"], ["sre"], "groups")
            equal(broker.command("audit", "verify").returncode, 0, "audit verify")
