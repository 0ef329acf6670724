"""A cloud vendor's own server over stdio, its service replaced by a stub on loopback: the request
that deletes an image set leaves the machine once if approved, and never if rejected."""

import json
import os
import subprocess
import sys

from broker import AGENT
from harness import (
    FIXTURES, Placet, Stage, code_of, decision_of, equal, expect, free_port, python, text_of, until,
)  # fmt: skip
from suites.clients import CLIENTS, HERE

DATASTORE, IMAGE_SET = "d" * 32, "a" * 32


def run(report):
    with Stage(report) as stage:
        port, log = free_port(), stage.dir / "service.requests"
        stub = stage.start([sys.executable, FIXTURES / "aws_stub.py", port, log], "service")
        stage.wait_port(port, stub, "the stub")
        env = stage.upstream_env(
            AWS_ACCESS_KEY_ID="AKIAEXAMPLE", AWS_SECRET_ACCESS_KEY="dummy", AWS_REGION="us-east-1",
            AWS_DEFAULT_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true", FASTMCP_LOG_LEVEL="ERROR",
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}", AWS_DISABLE_HOST_PREFIX_INJECTION="true",
        )  # fmt: skip
        command = [python("aws").removesuffix("python") + "awslabs.healthimaging-mcp-server"]
        policy = {
            "version": "1",
            "tools": {
                "delete_image_set": {
                    "action": "require_approval",
                    "reason": "Deleting an image set cannot be undone.",
                }
            },
        }
        broker = Placet(stage, [{"name": "images", "command": command, "env": env, "policy": policy}]).start()
        mcp = broker.mcp("images")

        def requests():
            return log.read_text().splitlines() if log.exists() else []

        with report.case("its 39 tools are listed"):
            listed = until(lambda: mcp.begin("tools/list").result().get("result"), 30, "tools/list")
            names = [t["name"] for t in listed["tools"]]
            equal(len(names), 39, "tools")
            expect("delete_image_set" in names, "delete_image_set is listed")

        def held(image_set):
            arguments = {"datastore_id": DATASTORE, "image_set_id": image_set}
            return mcp.held("delete_image_set", arguments, seconds=30)

        with report.case("a rejected deletion never reaches the service"):
            call, id = held("b" * 32)
            broker.decide(id, "reject", "Still needed.")
            answer = call.result()
            equal(code_of(answer), "approval_rejected", "the answer")
            equal(requests(), [], "requests at the service")

        with report.case("an approved deletion reaches the service once"):
            call, id = held(IMAGE_SET)
            equal(requests(), [], "requests before the decision")
            broker.decide(id)
            answer = call.result()
            expect(not answer["result"].get("isError"), f"it ran: {text_of(answer)}")
            expect("LOCKED" in str(answer["result"]), f"the service's answer: {answer['result']}")
            equal(decision_of(answer)["code"], "approved", "the decision in _meta")
            equal(requests(), [f"POST /datastore/{DATASTORE}/imageSet/{IMAGE_SET}/deleteImageSet"], "requests")
            broker.state(id, "completed")

        with report.case("tools without a rule are denied"):
            answer = mcp.call("delete_datastore", {"datastore_id": DATASTORE})
            equal(code_of(answer), "policy_denied", "the answer")
            equal(len(requests()), 1, "requests")

        for number, (client, ((program, script), era)) in enumerate(CLIENTS.items()):
            with report.case(f"{client}: one deletion rejected, one approved and sent once"):
                before = len(requests())
                argv = [program(), str(HERE / "clients" / script), f"{broker.url}/mcp/images", AGENT, era]

                def deletion(image_set):
                    arguments = {"datastore_id": DATASTORE, "image_set_id": image_set}
                    command = [{"do": "call", "name": "delete_image_set", "arguments": arguments}]
                    return arguments, subprocess.Popen(
                        [*argv, json.dumps(command)], stdout=subprocess.PIPE, text=True,
                        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                    )  # fmt: skip

                def answered(child):
                    out, _ = child.communicate(timeout=60)
                    return json.loads(out.splitlines()[-1])[0]["ok"]

                arguments, child = deletion(f"{number + 10}" * 16)
                broker.decide(broker.pending(arguments, seconds=30)["id"], "reject", "Still needed.")
                equal(code_of(answered(child)), "approval_rejected", "the rejected deletion")
                equal(len(requests()), before, "requests after the rejection")
                arguments, child = deletion(f"{number + 50}" * 16)
                broker.decide(broker.pending(arguments, seconds=30)["id"])
                answer = answered(child)
                expect("LOCKED" in str(answer), f"the service's answer: {answer}")
                equal(len(requests()), before + 1, "requests after the approval")
