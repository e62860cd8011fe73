"""Errors on standard error, and their exit codes: for the command and for program files that run themselves."""

from __future__ import annotations

import os
import sys
from errno import ENOSPC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from osmia.diagnostics import OsmiaError


def guarded(action: Callable[[], int], verbose: bool = False) -> int:
    """Runs an action and returns its exit code; an :class:`OsmiaError` is printed and becomes one.

    A closed output pipe is a quiet success, an interrupt is 130.
    """
    from osmia.diagnostics import OsmiaError

    try:
        return action()
    except OsmiaError as error:
        report(error, verbose)
        return exit_code(error)
    except BrokenPipeError:
        _mute()
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if error.errno != ENOSPC:
            raise
        return _full()
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _mute()
        except OSError:
            _full()


def report(error: OsmiaError, verbose: bool = False) -> None:
    """Prints an error to standard error: excerpt, cause, hint; with ``verbose`` the raw details too."""
    from osmia.diagnostics.render import render

    color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _mute()
    sys.stderr.write(render(error, color=color, verbose=verbose))


def exit_code(error: OsmiaError) -> int:
    """2 for wrong usage, 3 for a missing permission, 4 for what this kernel lacks, 1 for everything else."""
    from osmia.diagnostics import PermissionMissing, UnsupportedFeature, UsageError

    if isinstance(error, UsageError):
        return 2
    if isinstance(error, PermissionMissing):
        return 3
    return 4 if isinstance(error, UnsupportedFeature) else 1


def _full() -> int:
    """Says that the output's disk is full; what was not written yet is given up."""
    from osmia.diagnostics import RunError

    _mute()
    error = RunError("RUN014", "cannot write the output: no space left", hint="free some, or send the output elsewhere")
    report(error)
    return exit_code(error)


def _mute() -> None:
    """Standard output is gone: keeps Python's own last flush from complaining."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
