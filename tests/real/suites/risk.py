"""What harm a call could do, read from a real server's own tools: a policy that names no tool lets
reads through and asks about the rest, and says why."""

from harness import Placet, Stage, equal, expect, python, text_of
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
