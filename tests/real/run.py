"""Runs suites against the built binary: `python3 tests/real/run.py [SUITE...]`, all without one.

Needs the variables of the env.sh whose path tests/provision/provision.sh prints; `crash` and
`two_brokers` use PLACET_TEST_POSTGRES and fail without it, unless PLACET_REAL_NO_POSTGRES is set.
Last line: the counts as JSON. Exit 1 if anything failed.
"""

import importlib
import json
import os
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import Report, binary

SUITES = [
    "bad_input", "bad_days", "reload", "credentials", "failing", "odd_servers", "mail", "mail_pictures", "servers", "risk", "counters", "governed", "uris",
    "aws", "browser", "desk", "oidc", "passkeys", "commands", "two_brokers", "crash",
    "clients", "sse", "conformance", "odd_children", "lost_stream", "matrix", "loss", "soak",
]  # fmt: skip
# Those that wait for minutes.
if os.environ.get("PLACET_REAL_SLOW"):
    SUITES.append("hold_budget")


def main():
    wanted = sys.argv[1:] or SUITES
    unknown = [s for s in wanted if s not in SUITES]
    if unknown:
        sys.exit(f"unknown suite {unknown[0]}; there are {', '.join(SUITES)}")
    if not os.access(binary(), os.X_OK):
        sys.exit(f"{binary()} is not there: cargo build")
    total, times = {"passed": 0, "failed": 0, "skipped": 0}, []
    for name in wanted:
        report, began = Report(name), time.monotonic()
        try:
            importlib.import_module(f"suites.{name}").run(report)
        except Exception:
            with report.case("the suite runs to its end"):
                traceback.print_exc()
                raise
        counts = {"passed": report.passed, "failed": report.failed, "skipped": report.skipped}
        seconds = round(time.monotonic() - began)
        times.append((seconds, name))
        print(json.dumps({"suite": name, **counts, "seconds": seconds}), flush=True)
        for key, count in counts.items():
            total[key] += count
    for seconds, name in times:
        print(f"{seconds:6} s  {name}")
    print(json.dumps(total))
    sys.exit(1 if total["failed"] or not total["passed"] else 0)


main()
