"""An argument parser whose errors are Osmia's own."""

from __future__ import annotations

import argparse

from osmia.diagnostics import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """``argparse`` with coded errors, plain help layout and no abbreviations of long options."""

    def __init__(self, command: str, description: str, **rest: object) -> None:
        super().__init__(
            prog=f"osmia {command}",
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **rest,  # type: ignore[arg-type]
        )

    def error(self, message: str) -> NoReturn:
        """Refuses the command line."""
        raise UsageError("CLI002", f"{self.prog}: {message}", hint=f"{self.prog} --help tells the arguments")


def completes(action: argparse.Action, what: str) -> None:
    """Says what a shell completes an argument's value with: a key of ``osmia.cli.complete.SOURCES``."""
    action.completes = what  # type: ignore[attr-defined]


def completion_of(action: argparse.Action) -> str:
    """What :func:`completes` said; without that, a guess by the argument's metavar."""
    said = getattr(action, "completes", "")
    if said:
        return str(said)
    return _BY_METAVAR.get(action.metavar if isinstance(action.metavar, str) else "", "")


_BY_METAVAR = {
    "FILE": "file", "TARGET": "program", "TOOL": "tool", "PID": "pid", "TID": "pid", "CODE": "code",
}  # fmt: skip
