"""Mail over a real SMTP server, webhooks checked by the official library: links decide by POST
only, once, and what is sent about a decision is what happened."""

import concurrent.futures
import html.parser
import json
import time
import urllib.parse

from harness import (
    ADMIN, Failed, Placet, Stage, equal, expect, html_of, plain_of, review_links, text_of, until,
)  # fmt: skip

POLICY = {
    "version": "1",
    "tools": {
        "work": {"action": "require_approval", "reason": "Work cannot be undone."},
        "brief": {"action": "require_approval", "approval": {"timeout": "3s", "notify": ["mail"]}},
        "peek": {"action": "allow"},
    },
}


class Form(html.parser.HTMLParser):
    """The form of a page that carries a decision: its action, fields and buttons."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields, self.buttons, self.inside = None, {}, [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if tag == "form":
            self.inside = True
            self.action = a.get("action")
        elif tag in ("input", "textarea") and self.inside and a.get("name"):
            self.fields[a["name"]] = a.get("value") or ""
        elif tag == "button" and a.get("name") == "decision":
            self.buttons.append(a.get("value"))


def path_of(link):
    return urllib.parse.urlsplit(link).path


def read_form(broker, path):
    page = broker.http("GET", path)
    equal(page.status, 200, f"GET of the link ({page.text[:200]})")
    form = Form(page.text)
    expect("digest" in form.fields and "reason" in form.fields, f"the form's fields: {sorted(form.fields)}")
    return form


def post_form(broker, path, form, decision, **changed):
    fields = {**form.fields, "decision": decision, **changed}
    target = urllib.parse.urljoin(path, form.action or path)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": broker.url}
    return broker.http("POST", path_of(target), urllib.parse.urlencode(fields), headers)


def mail_notifier(sink, url=None, **more):
    return {
        "name": "mail",
        "kind": "email",
        "smtp_url": url or f"smtp://127.0.0.1:{sink.port}",
        "from": "Placet <placet@example.org>",
        **more,
    }


def link_for(sink, to, id):
    """The review link of the mail that asks `to` about this approval."""

    def find():
        for mail in sink.mails(to):
            if id in str(mail["References"]) + str(mail["Message-ID"]) + plain_of(mail) and review_links(mail):
                return mail, path_of(review_links(mail)[0])
        return None

    return until(find, 20, f"a review link mailed to {to}")


def run(report):
    plain(report)
    starttls(report)


def plain(report):
    with Stage(report) as stage:
        upstream, sink, hooks = stage.slow_upstream(), stage.mail_sink(), stage.webhooks()
        broker = Placet(
            stage,
            [{"name": "slow", "url": upstream.url, "policy": POLICY}],
            notifiers=[mail_notifier(sink), hooks.notifier()],
        ).start()
        mcp = broker.mcp("slow")

        arguments = {"id": "one", "note": "<b>Ünïcode & \"quotes\"</b>\r\nBcc: everyone@example.org"}
        call = mcp.begin_call("work", arguments)
        id = broker.pending(arguments)["id"]

        with report.case("each eligible reviewer gets one mail with the call in it"):
            for to in ("ana@example.org", "root@example.org"):
                mail = sink.wait(to)[0]
                expect("work" in plain_of(mail) and "one" in plain_of(mail), plain_of(mail)[:400])
                expect("Work cannot be undone." in plain_of(mail), "the rule's reason is in the mail")
                expect("in 15 minutes" in plain_of(mail) or "in 14 minutes" in plain_of(mail), plain_of(mail)[:600])
                expect("<b>Ünïcode" not in html_of(mail), "arguments are escaped in the HTML part")
                equal(mail["Auto-Submitted"], "auto-generated", "Auto-Submitted")
                expect(mail["Message-ID"], "Message-ID is there")
                equal(mail["Bcc"], None, "Bcc")
                equal(len(review_links(mail)), 1, "review links")
                expect("src=\"http" not in html_of(mail), "no remote images")
            links = {review_links(sink.mails(to)[0])[0] for to in ("ana@example.org", "root@example.org")}
            equal(len(links), 2, "different links")
            time.sleep(2)
            equal(len(sink.mails()), 2, "mails")

        _, ana = link_for(sink, "ana@example.org", id)
        _, root = link_for(sink, "root@example.org", id)

        with report.case("opening a link changes nothing, however often"):
            before = broker.approval(id)
            with concurrent.futures.ThreadPoolExecutor(5) as pool:
                for page in pool.map(lambda _: broker.http("GET", ana), range(10)):
                    equal(page.status, 200, "GET")
            equal(broker.http("HEAD", ana).status, 200, "HEAD")
            expect(broker.http("OPTIONS", ana).status < 500, "OPTIONS")
            for method in ("PUT", "DELETE", "PATCH"):
                equal(broker.http(method, ana).status, 405, method)
            equal(broker.approval(id), before, "the approval")
            equal(upstream.started("one"), 0, "executions")

        with report.case("the page shows the call and is closed to framing, caching and scripts"):
            page = broker.http("GET", ana)
            expect("<b>Ünïcode" not in page.text, "arguments are escaped")
            expect("slow" in page.text and "work" in page.text, "upstream and tool are shown")
            csp = page.headers["content-security-policy"]
            expect("frame-ancestors 'none'" in csp and "unsafe-inline" not in csp, csp)
            equal(page.headers["cache-control"], "no-store", "Cache-Control")
            equal(page.headers["referrer-policy"], "same-origin", "Referrer-Policy")

        with report.case("a form without its token, with another digest, or from elsewhere decides nothing"):
            form = read_form(broker, ana)
            wrong = {**form.fields, "digest": "sha256:" + "0" * 64}
            expect(post_form(broker, ana, form, "approve", **wrong).status >= 400, "another digest")
            own = [n for n in form.fields if n not in ("digest", "reason", "decision")]
            expect(own, "the form has a token")
            expect(post_form(broker, ana, form, "approve", **{n: "x" for n in own}).status >= 400, "a wrong token")
            bare = urllib.parse.urlencode({"decision": "approve", "reason": "", "digest": form.fields["digest"]})
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            expect(broker.http("POST", ana, bare, kind).status >= 400, "no token")
            full = urllib.parse.urlencode({**form.fields, "decision": "approve"})
            elsewhere = broker.http("POST", ana, full, {**kind, "Origin": "https://evil.example"})
            equal(elsewhere.status, 403, "a foreign Origin")
            equal(broker.approval(id)["state"], "pending", "state")

        with report.case("the form decides, the held call runs and is answered"):
            form = read_form(broker, ana)
            equal(sorted(form.buttons), ["approve", "reject"], "buttons")
            done = post_form(broker, ana, form, "approve", reason="Looked at it.")
            expect(done.status in (200, 303), f"{done.status}: {done.text[:300]}")
            answer = call.result()
            equal(text_of(answer), "did work one", "the answer")
            approval = broker.state(id, "completed")
            equal(
                [(d["reviewer"], d["decision"], d["via"], d["reason"]) for d in approval["decisions"]],
                [("ana", "approve", "email", "Looked at it.")],
                "decisions",
            )
            equal(upstream.started("one"), 1, "executions")

        with report.case("used and overtaken links are gone and show nothing of the call"):
            for link in (ana, root):
                page = broker.http("GET", link)
                equal(page.status, 410, "GET")
                expect("<form" not in page.text and "everyone@example.org" not in page.text, "no form, no arguments")
                expect("ana" in page.text, "who decided is said")
            equal(broker.http("GET", "/review/" + "A" * 43).status in (404, 410), True, "an invented link")
            equal(post_form(broker, root, form, "reject", reason="late").status, 410, "POST to an overtaken link")
            equal(broker.approval(id)["state"], "completed", "state")

        with report.case("those asked who made no decision are told, the others not"):
            mails = sink.wait("root@example.org", 2)
            expect("approved" in (plain_of(mails[1]) + str(mails[1]["Subject"])).lower(), plain_of(mails[1])[:300])
            expect(mails[1]["References"] or mails[1]["In-Reply-To"], "the mails of an approval are one thread")
            equal(review_links(mails[1]), [], "review links in it")
            time.sleep(1)
            equal(len(sink.mails("ana@example.org")), 1, "mails to who decided")

        with report.case("webhooks are signed, thin, and one of each kind"):
            for kind in ("approval.requested", "approval.approved", "approval.completed"):
                received = hooks.of_type(kind)
                equal(len(received), 1, kind)
                hooks.verify(received[0])
                body = json.loads(received[0]["body"])
                equal(body["data"]["approval"]["id"], id, "the approval")
                expect("arguments" not in body["data"]["approval"], "arguments are absent")
                expect("outcome" not in body["data"]["approval"], "the outcome is absent")
                equal(body["data"]["review_url"], f"{broker.url}/approvals/{id}", "review_url")
            try:
                hooks.verify({**received[0], "body": received[0]["body"].replace("completed", "rejected")})
            except Failed:
                pass
            else:
                raise Failed("a changed body passes the signature")

        with report.case("a form rejects, with a reason"):
            arguments = {"id": "two"}
            call = mcp.begin_call("work", arguments)
            id = broker.pending(arguments)["id"]
            _, link = link_for(sink, "root@example.org", id)
            done = post_form(broker, link, read_form(broker, link), "reject", reason="Not today.")
            expect(done.status in (200, 303), f"{done.status}: {done.text[:300]}")
            expect("Not today." in text_of(call.result()), text_of(call.result()))
            equal(upstream.started("two"), 0, "executions")

        with report.case("an expired link says so and decides nothing"):
            call = mcp.begin_call("brief", {"id": "three"})
            id = broker.pending({"id": "three"})["id"]
            _, link = link_for(sink, "ana@example.org", id)
            form = read_form(broker, link)
            call.result()
            broker.state(id, "expired")
            equal(broker.http("GET", link).status, 410, "GET")
            equal(post_form(broker, link, form, "approve").status, 410, "POST")
            equal((broker.approval(id)["state"], upstream.started("three")), ("expired", 0), "state, executions")

        with report.case("a webhook that failed is sent again under the same id"):
            hooks.received.clear()
            hooks.answers += [503, 302]
            call = mcp.begin_call("work", {"id": "four"})
            id = broker.pending({"id": "four"})["id"]
            tries = until(
                lambda: (r := [h for h in hooks.received if "approval.requested" in h["body"]]) and len(r) > 2 and r,
                120, "three tries",
            )  # fmt: skip
            equal(len({t["headers"]["webhook-id"] for t in tries}), 1, "webhook-ids")
            hooks.verify(tries[2])
            broker.decide(id, "reject", token=ADMIN)
            call.result()


def starttls(report):
    with Stage(report) as stage:
        ca, cert, key = stage.certificates()
        upstream = stage.slow_upstream()
        sink = stage.mail_sink(tls=(cert, key), auth=("placet", "s3cret"))
        url = f"smtp://placet:s3cret@localhost:{sink.port}?tls=required"

        def broker(name, url, **env):
            return Placet(
                stage,
                [{"name": "slow", "url": upstream.url, "policy": POLICY}],
                name=name,
                notifiers=[mail_notifier(sink, url)],
                env=env,
            ).start()

        with report.case("STARTTLS and a password: the mail arrives over TLS"):
            a = broker("trusting", url, SSL_CERT_FILE=str(ca))
            call = a.mcp("slow").begin_call("work", {"id": "tls"})
            id = a.pending({"id": "tls"})["id"]
            mail, link = link_for(sink, "ana@example.org", id)
            equal(mail["X-Sink-Tls"], "True", "TLS")
            post_form(a, link, read_form(a, link), "approve")
            equal(text_of(call.result()), "did work tls", "the answer")

        for name, url, env in (
            ("distrusting", url, {}),
            ("mistaken", url.replace("s3cret", "wrong"), {"SSL_CERT_FILE": str(ca)}),
            ("plain", f"smtp://placet:s3cret@localhost:{sink.port}", {}),
        ):
            with report.case(f"{name} sender: no mail, and the approval is decided all the same"):
                b = broker(name, url, **env)
                before = len(sink.mails())
                call = b.mcp("slow").begin_call("work", {"id": name})
                id = b.pending({"id": name})["id"]
                time.sleep(3)
                equal(len(sink.mails()), before, "mails")
                b.decide(id)
                equal(text_of(call.result()), f"did work {name}", "the answer")
                log = (stage.dir / f"{name}.log").read_text()
                expect("s3cret" not in log, "the password is not in the log")
                expect("ana@example.org" not in log, "no address is in the log")
