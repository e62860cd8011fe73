"""The command ``osmia``: finds the subcommand, runs it, turns errors into words and exit codes.

Each subcommand is a module of ``osmia.cli.commands`` with ``parser()`` and ``main(words)``; only the one that is
asked for is imported. Exit codes: 0 success; 1 the input or the kernel refused; 2 wrong usage; 3 permission missing;
4 this kernel lacks a feature; 130 interrupted. ``osmia run ... -- COMMAND`` ends with the command's own status.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from osmia.diagnostics import OsmiaError

COMMANDS = {
    "run": "run a ready tool or a program file",
    "tools": "list the ready tools, or show one's manual",
    "demo": "a short program's way from source to live events",
    "check": "compile and load a program, attach nothing",
    "build": "compile a program to a portable object file",
    "disasm": "show the bytecode of an object, a file or a loaded program",
    "ps": "list loaded programs, maps and links",
    "doctor": "what this machine can do, and how to get what it cannot",
    "explain": "explain an error code",
    "completion": "print a shell's completion script",
}
"""The subcommands, in the order of ``osmia --help``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    from osmia.runtime.console import guarded

    words = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _run(words), "--verbose" in words or "-v" in words)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        return 0
    if words[0] in ("-V", "--version"):
        from osmia.version import VERSION

        sys.stdout.write(f"osmia {VERSION}\n")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        raise _unknown(name)
    return _dispatch(name, rest)


def _dispatch(name: str, words: list[str]) -> int:
    from importlib import import_module

    module = import_module(f"osmia.cli.commands.{name}")
    result = module.main(words)
    return int(result)


def _help() -> str:
    width = max(len(name) for name in COMMANDS)
    lines = ["Osmia: program the Linux kernel from Python.", "", "usage: osmia COMMAND [arguments]", "", "commands:"]
    lines += [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    lines += ["", "osmia COMMAND --help tells a command's own arguments; osmia --version the version.", ""]
    return "\n".join(lines)


def _unknown(name: str) -> OsmiaError:
    from osmia.diagnostics import UsageError
    from osmia.diagnostics.text import clean, did_you_mean

    hint = did_you_mean(name, COMMANDS) or "osmia --help lists the commands"
    if name.endswith((".py", ".o")) or os.path.isfile(name):
        hint = f"to run a program file: osmia run {clean(name)}"
    elif name in _tools():
        hint = f"to run the tool: osmia run {name}"
    return UsageError("CLI001", f"there is no command '{clean(name)}'", hint=hint)


def _tools() -> list[str]:
    from osmia.runtime.programs import tool_names

    return tool_names()
