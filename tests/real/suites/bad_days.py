"""Bad days: the disk is full, the answer of a commit is lost, a process sleeps, a lock is held, the
network goes silent, the store is away, clocks disagree, a mail server hangs. Each ends by itself,
without a restart, in the state that the contract names, and nobody is told what is not so.

Every case has its own brokers, database and relay, so they wait side by side. Those that need
minutes run with PLACET_REAL_SLOW; PLACET_REAL_DAYS names parts of the cases to run.
"""

import concurrent.futures
import os
import time

from days import channels, clocks, processes, queue, stores
from days.day import Day
from harness import Report

SLOW = bool(os.environ.get("PLACET_REAL_SLOW"))
WANTED = os.environ.get("PLACET_REAL_DAYS", "").split()
# Most of them wait for something.
AT_ONCE = 5


def run(report):
    cases = [case for part in (stores, processes, clocks, channels, queue) for case in part.CASES]
    if WANTED:
        cases = [case for case in cases if any(word in case.name for word in WANTED)]
    if not SLOW and not WANTED:
        for case in cases:
            if case.slow:
                report.skip(case.name, "only with --slow")
        cases = [case for case in cases if not case.slow]
    # The long ones first.
    cases.sort(key=lambda case: -case.seconds)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(live, case, report) for case in cases]:
            done.result()


def live(case, report):
    for database in case.databases:
        if database == "PostgreSQL" and os.environ.get("PLACET_REAL_NO_POSTGRES"):
            report.skip(f"{case.name}, on PostgreSQL", "PLACET_REAL_NO_POSTGRES is set")
            continue
        began = time.monotonic()
        own = Report(report.suite)
        with Day(own, case, database) as day:
            case.live(day)
        with report.lock:
            report.passed += own.passed
            report.failed += own.failed
        if os.environ.get("PLACET_REAL_TIMES"):
            print(f"    {time.monotonic() - began:5.1f} s  {case.name}, on {database}", flush=True)
