"""Visits in a real browser, each by one of the scripts in fixtures."""

import json
import subprocess

from checks import FIXTURES, expect, node


def visit(script, /, **steps):
    """Runs a script of fixtures; its JSON answer."""
    done = subprocess.run([node(), FIXTURES / script, json.dumps(steps)], capture_output=True, text=True, timeout=120)
    expect(done.returncode == 0, f"the browser: {done.stderr[-800:]}")
    return json.loads(done.stdout.splitlines()[-1])
