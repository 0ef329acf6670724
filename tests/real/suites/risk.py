"""What harm a call could do, read from a real server's own tools: a policy that names no tool lets
reads through and asks about the rest, and says why."""

from harness import ANA, Placet, Stage, equal, expect, python, text_of
from suites.desk import Browser
from suites.servers import repository


def run(report):
    with Stage(report) as stage:
        repo, staged = repository(stage)
        command = [python("mcp2").removesuffix("python") + "mcp-server-git", "-r", str(repo)]
        policy = {
            "version": "1",
            "match": [
                {"risk": ["read"], "action": "allow"},
                {"risk": ["write"], "action": "require_approval"},
            ],
        }
        upstream = {"name": "git", "command": command, "env": stage.upstream_env(), "policy": policy}
        broker = Placet(stage, [upstream]).start()
        git, here = broker.mcp("git"), {"repo_path": str(repo)}

        with report.case("a tool that reads runs"):
            expect("Changes to be committed" in text_of(git.call("git_status", here)), "git_status")

        with report.case("one that writes is asked about, with its class, its severity and why"):
            arguments = {**here, "branch_name": "b"}
            call = git.begin_call("git_create_branch", arguments)
            asked = broker.pending(arguments)
            equal((asked["risk"], asked["severity"]), ("write", "medium"), "risk and severity")
            expect('name says "create"' in asked["risk_why"], asked["risk_why"])
            broker.decide(asked["id"])
            expect("b" in text_of(call.result()), "the answer")

        with report.case("one that destroys is denied by the rest of the policy"):
            answer = git.call("git_reset", here)
            equal((answer["result"]["isError"], staged()), (True, ["a"]), "git_reset")

        with report.case("the list of tools says the class of each, and what speaks for it"):
            tools = {t["tool"]: t for t in broker.api("GET", "/tools").json()["tools"]}
            classes = {name: (t["risk"], t["severity"], t["action"]) for name, t in tools.items()}
            equal(classes["git_status"], ("read", "low", "allow"), "git_status")
            equal(classes["git_reset"], ("destructive", "high", "deny"), "git_reset")
            expect('"reset"' in tools["git_reset"]["evidence"], tools["git_reset"]["evidence"])
            reads = {name for name, (risk, _, _) in classes.items() if risk == "read"}
            wanted = {"git_status", "git_diff", "git_diff_staged", "git_diff_unstaged", "git_log", "git_show", "git_branch"}
            equal(reads, wanted, "tools that read")

        policy = {
            "version": "1",
            "match": [
                {"risk": ["read"], "action": "allow"},
                {"action": "require_approval", "approval": {"grant": {"max_uses": 2, "max_duration": "1h"}}},
            ],
        }
        broker = Placet(stage, [{**upstream, "policy": policy}], name="desk").start()
        git = broker.mcp("git")

        def branch(name):
            arguments = {**here, "branch_name": name}
            return arguments, git.begin_call("git_create_branch", arguments)

        for script in (True, False):
            word, options = "with" if script else "without", {"javaScriptEnabled": script}
            with report.case(f"by the tools' own classes the gravest comes first, and milder calls are approved together ({word} scripts)"):
                made = [branch(f"{word}-{n}") for n in range(2)]
                ids = [broker.pending(arguments)["id"] for arguments, _ in made]
                grave = git.begin_call("git_reset", here)
                reset = broker.pending(here)["id"]
                texts = [f"{word}-0", f"{word}-1"]
                seen = Browser(url=broker.url, token=ANA, do="together", texts=texts, options=options).seen()
                expect("git_reset" in seen["rows"][0], seen["rows"][0])
                expect("2 of 2 approved" in seen["after"], seen["after"][:300])
                for id, (_, call) in zip(ids, made):
                    expect("Created branch" in text_of(call.result()), "the answer")
                    equal(broker.approval(id)["decisions"][0]["reviewer"], "ana", "who decided")
                equal(broker.approval(reset)["state"], "pending", "the call that was not ticked")
                broker.decide(reset)
                grave.result()

            with report.case(f"who approves a call of a milder class lets the next like it through ({word} scripts)"):
                arguments, call = branch(f"{word}-granted")
                id = broker.pending(arguments)["id"]
                seen = Browser(url=broker.url, token=ANA, do="grant", id=id, free="branch_name", options=options).seen()
                expect("Created branch" in text_of(call.result()), "the answer")
                expect("Created branch" in text_of(branch(f"{word}-next")[1].result()), "the next is not asked about")
                equal(broker.approvals(state="pending"), [], "what waits")
