"""Drives a built `placet` from outside: starts it with a configuration, talks to its MCP face and
its HTTP API, receives its mails and webhooks, kills it. Standard library only.

Knows nothing of the inside. Whatever a stage starts ends with the stage, by process id; what an
upstream leaves behind is found by a mark in its environment, ended, and reported as a failure.
This is the one module suites import; the parts are beside it.
"""

from broker import ADMIN, AGENT, ANA, BEN, Placet, toml
from browsing import pictures, visit
from checks import (
    FIXTURES, HERE, ROOT, Failed, Report, binary, equal, expect, fixture_server, free_port, node, node_package, python,
    setting, until,
)  # fmt: skip
from raw_mcp import LEGACY, MODERN, Mcp, code_of, decision_of, text_of
from sides import html_of, plain_of, review_links
from stage import Stage

__all__ = [
    "ADMIN", "AGENT", "ANA", "BEN", "FIXTURES", "HERE", "LEGACY", "MODERN", "ROOT", "Failed", "Mcp", "Placet", "Report",
    "Stage", "binary", "code_of", "decision_of", "equal", "expect", "fixture_server", "free_port", "html_of", "node",
    "node_package", "pictures", "plain_of", "python", "review_links", "setting", "text_of", "toml", "until", "visit",
]  # fmt: skip
