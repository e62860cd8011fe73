"""``osmia run TARGET``: run a ready tool, a program file or an object file."""

from __future__ import annotations

import sys

_USAGE = """usage: osmia run TARGET [options] [-- COMMAND ...]

Run a ready tool (osmia tools lists them), a program file (FILE.py) or an object file (FILE.bpf.o).

osmia run TARGET --help tells the target's own options.
"""


def main(words: list[str]) -> int:
    """Runs the target and returns its status."""
    from osmia.diagnostics import UsageError

    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_USAGE)
        return 0 if words else 2
    if words[0].startswith("-"):
        raise UsageError("CLI002", "osmia run: the target comes first", hint="osmia run opensnoop --duration 5")
    from osmia.runtime.launch import run_target

    return run_target(words[0], words[1:])
