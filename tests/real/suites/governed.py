"""Resources and prompts under policy in front of a server of somebody else's: which spellings of a
URI it serves is its own business, and none of them gets past a rule."""

from harness import FIXTURES, Placet, Stage, equal, expect, python

URI = "memo://insights"
# Some the server takes for the resource, some it does not; which is for it to say.
SPELLINGS = [
    URI, "MEMO://insights", "Memo://INSIGHTS", " memo://insights", "memo://insights ", "memo://ins\tights",
    "memo://ins\nights", "memo://%69nsights", "memo://insight%73", "memo://insights/", "memo://insights?x",
    "memo://insights#x", "memo://insights/.", "memo://x/../insights", "memo:insights", "memo:///insights",
    "memo://insights/%2e%2e/insights", "memo:\\\\insights",
]  # fmt: skip
DECISION = -31100


def read(mcp, uri):
    return mcp.begin("resources/read", {"uri": uri})


def run(report):
    with Stage(report) as stage:

        def server(name, **policy):
            bin = python("mcp1").removesuffix("python") + "mcp-server-sqlite"
            tap = [python("tools"), str(FIXTURES / "tap.py"), str(stage.dir / f"{name}.requests")]
            return {
                "name": name,
                "command": [*tap, bin, "--db-path", str(stage.dir / f"{name}.db")],
                "env": stage.upstream_env(),
                "policy": {"version": "1", **policy},
            }

        def count(name, method):
            log = stage.dir / f"{name}.requests"
            return sum(f'"{method}"' in line for line in log.read_text().splitlines())

        # The clients of both eras are one agent: what one was refused is asked anew by the other.
        gated = {"action": "require_approval", "approval": {"cooldown": "0s"}}
        broker = Placet(
            stage,
            [
                server("free"),
                server("denied", resources={"rules": {URI: {"action": "deny", "reason": "No."}}}),
                server("hidden", resources={"hide": [URI]}, prompts={"hide": ["mcp-*"]}),
                server("gated", resources={"rules": {URI: gated}}, prompts={"rules": {"mcp-demo": gated}}),
            ],
        ).start()
        for era in ("modern", "legacy"):
            of = {name: broker.mcp(name, era=era) for name in ("free", "denied", "hidden", "gated")}

            with report.case(f"{era} client: no spelling that the server serves gets past a rule"):
                served = [uri for uri in SPELLINGS if "result" in read(of["free"], uri).result()]
                expect(URI in served and len(served) > 3, f"the server serves some other spellings: {served}")
                for uri in SPELLINGS:
                    error = read(of["denied"], uri).result().get("error", {})
                    expect(error.get("code") == DECISION or uri not in served, f"denied, {uri!r}: {error}")
                    error = read(of["hidden"], uri).result().get("error", {})
                    expect(error.get("message") == "Resource not found" or uri not in served, f"{uri!r}: {error}")

            with report.case(f"{era} client: what is hidden is in no list"):
                lists = {"prompts/list": "prompts", "resources/list": "resources"}
                for method, key in lists.items():
                    equal(of["hidden"].begin(method).result()["result"][key], [], method)
                    expect(of["free"].begin(method).result()["result"][key], f"{method} of the server itself")
                error = of["hidden"].begin("prompts/get", {"name": "mcp-demo"}).result()["error"]
                equal((error["code"], error["message"]), (-32602, "Unknown prompt: mcp-demo"), "the hidden prompt")

            topic = {"topic": f"{era} birds"}
            for method, params, arguments in (
                ("resources/read", {"uri": URI}, {"uri": URI}),
                ("prompts/get", {"name": "mcp-demo", "arguments": topic}, topic),
            ):
                with report.case(f"{era} client: an approved {method} runs once, a rejected one does not"):
                    before = count("gated", method)
                    call = of["gated"].begin(method, params)
                    approval = broker.pending(arguments)
                    equal(approval["method"], method, "what the approval says")
                    broker.decide(approval["id"])
                    result = call.result()["result"]
                    equal(result["_meta"]["io.placet/decision"]["code"], "approved", "the decision")
                    expect(result.get("contents") or result.get("messages"), f"the server's own answer: {result}")
                    equal(count("gated", method) - before, 1, "executions")
                    call = of["gated"].begin(method, params)
                    broker.decide(broker.pending(arguments)["id"], "reject", "Not now.")
                    error = call.result()["error"]
                    equal(error["code"], DECISION, "the code")
                    expect(error["message"].startswith("[approval_rejected] Not executed."), error["message"])
                    equal(count("gated", method) - before, 1, "executions")
