"""Visits in a real browser, each by one of the scripts in fixtures."""

import json
import subprocess

from checks import FIXTURES, ROOT, expect, node, setting


def screens():
    """Where pictures of pages go; ends the suite where there is no browser to take them."""
    setting("PLACET_REAL_CHROMIUM")
    folder = ROOT / "target" / "screens"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def visit(fixture, /, **steps):
    """Runs a script of fixtures with these steps; its JSON answer."""
    done = subprocess.run([node(), FIXTURES / fixture, json.dumps(steps)], capture_output=True, text=True, timeout=120)
    expect(done.returncode == 0, f"the browser: {done.stderr[-800:]}")
    return json.loads(done.stdout.splitlines()[-1])
