"""Two reference servers over stdio, one of each era: a destructive call of each, rejected and
approved."""

import sqlite3
import subprocess

from harness import FIXTURES, Placet, Stage, code_of, equal, expect, python, text_of, until


def repository(stage):
    """A repository with one staged file."""
    repo = stage.dir / "repo"
    repo.mkdir()

    def git(*args):
        config = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        done = subprocess.run(["git", *config, *args], cwd=repo, check=True, capture_output=True, text=True)
        return done.stdout

    git("init", "-q")
    (repo / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "first")
    (repo / "a").write_text("2")
    git("add", "a")
    return repo, lambda: git("diff", "--cached", "--name-only").split()


def run(report):
    with Stage(report) as stage:
        repo, staged = repository(stage)
        database = stage.dir / "data.db"
        with sqlite3.connect(database) as db:
            db.execute("create table patients (id integer)")

        def tables():
            with sqlite3.connect(database) as db:
                return [row[0] for row in db.execute("select name from sqlite_master where type = 'table'")]

        def tapped(name, *command):
            return [python("tools"), str(FIXTURES / "tap.py"), str(stage.dir / f"{name}.requests"), *map(str, command)]

        def bin(venv, name):
            return python(venv).removesuffix("python") + name

        def count(name, tool):
            log = stage.dir / f"{name}.requests"
            lines = log.read_text().splitlines() if log.exists() else []
            return sum('"tools/call"' in line and f'"{tool}"' in line for line in lines)

        gated = {"action": "require_approval"}
        broker = Placet(
            stage,
            [
                {
                    "name": "git",
                    "command": tapped("git", bin("mcp2", "mcp-server-git"), "-r", repo),
                    "env": stage.upstream_env(),
                    "policy": {"version": "1", "tools": {"git_status": {"action": "allow"}, "git_reset": gated}},
                },
                {
                    "name": "sqlite",
                    "command": tapped("sqlite", bin("mcp1", "mcp-server-sqlite"), "--db-path", database),
                    "env": stage.upstream_env(),
                    "policy": {"version": "1", "tools": {"list_tables": {"action": "allow"}, "write_query": gated}},
                },
            ],
        ).start()
        for name in ("git", "sqlite"):
            until(
                lambda n=name: broker.mcp(n).begin("tools/list").result().get("result"), 30, f"{name} lists its tools"
            )

        for era in ("modern", "legacy"):
            git, sqlite = broker.mcp("git", era=era), broker.mcp("sqlite", era=era)
            here = {"repo_path": str(repo)}

            with report.case(f"{era} client: allowed calls of both pass"):
                answer = git.call("git_status", here)
                expect("Changes to be committed" in text_of(answer), f"git_status: {text_of(answer)}")
                answer = sqlite.call("list_tables", {})
                expect("patients" in text_of(answer), f"list_tables: {text_of(answer)}")

            with report.case(f"{era} client: a rejected git_reset does not run"):
                before = count("git", "git_reset")
                arguments = {**here, "note": era}  # the server ignores it; it makes the calls differ
                call = git.begin_call("git_reset", arguments)
                broker.decide(broker.pending(arguments)["id"], "reject", "Not now.")
                equal(code_of(call.result()), "approval_rejected", "the answer")
                equal((staged(), count("git", "git_reset") - before), (["a"], 0), "staged files, executions")

            with report.case(f"{era} client: a rejected DROP TABLE does not run"):
                arguments = {"query": f"DROP TABLE patients -- {era} rejected"}
                call = sqlite.begin_call("write_query", arguments)
                broker.decide(broker.pending(arguments)["id"], "reject", "Not now.")
                equal(code_of(call.result()), "approval_rejected", "the answer")
                equal(tables(), ["patients"], "tables")

        with report.case("an approved git_reset runs once"):
            before = count("git", "git_reset")
            call = broker.mcp("git").begin_call("git_reset", {"repo_path": str(repo)})
            broker.decide(broker.pending({"repo_path": str(repo)})["id"])
            answer = call.result()
            expect(not answer["result"].get("isError"), f"it ran: {text_of(answer)}")
            equal((staged(), count("git", "git_reset") - before), ([], 1), "staged files, executions")

        with report.case("an approved DROP TABLE runs once"):
            arguments = {"query": "DROP TABLE patients"}
            before = count("sqlite", "write_query")
            call = broker.mcp("sqlite", era="legacy").begin_call("write_query", arguments)
            broker.decide(broker.pending(arguments)["id"])
            answer = call.result()
            expect(not answer["result"].get("isError"), f"it ran: {text_of(answer)}")
            equal((tables(), count("sqlite", "write_query") - before), ([], 1), "tables, executions")
