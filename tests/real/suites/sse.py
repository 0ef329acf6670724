"""HTTP+SSE of 2024-11-05 on both sides: the official clients that still have it, and the official
server that still does, found out by itself and pinned."""

from harness import Placet, Stage, code_of, decision_of, equal, node, python
from suites.clients import CLIENTS, Everything, Files, Lane, run_lanes

OLD = {
    "py1 sse": ([lambda: python("mcp1"), "client_py1.py"], "sse"),
    "ts1 sse": ([node, "client_ts1.mjs"], "sse"),
}


class OldEverything(Everything):
    name, transport, path = "everything-sse", "sse", "/sse"


class PinnedEverything(OldEverything):
    name = "everything-sse-pinned"

    def __init__(self, stage):
        super().__init__(stage)
        self.config["transport"] = "sse"


def run(report):
    with Stage(report) as stage:
        files, old, pinned = Files(stage), OldEverything(stage), PinnedEverything(stage)
        again = dict(old.config)
        pairs = [
            ("py1 sse", files), ("ts1 sse", files),
            ("py1 sse", old), ("ts1 sse", old),
            ("py2 auto", old), ("ts1", old), ("ts2 auto", pinned),
        ]  # fmt: skip
        run_lanes(stage, report, CLIENTS | OLD, [files, old, pinned], pairs)
        handed_over(report, stage, old, again)


def handed_over(report, stage, upstream, config):
    """A hold that ends before the decision, for each old client."""
    broker = Placet(stage, [config], name="short", approvals={"heartbeat": "1s", "hold": "3s"})
    lanes = [Lane(broker, client, upstream, 20 + n, OLD) for n, client in enumerate(OLD)]
    broker.config["agents"] = [{"name": lane.agent, "token": lane.token} for lane in lanes]
    broker.write()
    broker.start()
    for lane in lanes:
        with report.case(f"{lane.name}: handed over, comes back after the approval: executed once"):
            call = upstream.call("gated", "", lane.number * 100)
            answer = lane.run(call)[0]["ok"]
            equal((code_of(answer), lane.executed(call)), ("approval_pending", 0), "the hand-over, executions")
            id = lane.pending(call)
            equal(decision_of(answer)["approval"], id, "the approval in _meta")
            broker.decide(id)
            answer = lane.run(call)[0]["ok"]
            equal((code_of(answer), lane.executed(call)), ("approved", 1), "the answer, executions")
