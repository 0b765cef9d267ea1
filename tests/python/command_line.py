# SPDX-License-Identifier: Apache-2.0
"""Runs the `dovetail` command as a user does, and checks how it fails."""

import subprocess
import sys


def dovetail(*arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dovetail", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def succeed(*arguments, **options) -> str:
    done = dovetail(*arguments, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fail(*arguments, **options) -> str:
    """The one sentence on stderr of a command that must fail."""
    done = dovetail(*arguments, **options)
    assert done.returncode == 1, f"exit {done.returncode}: {done.stdout}{done.stderr}"
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr
