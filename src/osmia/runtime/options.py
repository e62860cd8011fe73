"""The options that all programs share, and a program's own, from one command line."""

from __future__ import annotations

import argparse

from osmia.diagnostics import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, NoReturn


class RunOptions:
    """Settings of one run; every field has the default of a bare ``osmia run PROGRAM``.

    :ivar pid: only this process, in the caller's pid namespace; 0 for all. :ivar tid: only this thread.
    :ivar cgroup: only processes in this cgroup v2 folder or below it. :ivar comm: only tasks of this name.
    :ivar command: a command to run and trace with all its descendants.
    :ivar duration: seconds to run, ``None`` for no limit. :ivar interval: seconds between tables, ``None`` for the
        end only.
    :ivar top: rows of a table, 0 for all. :ivar form: ``text``, ``json``, ``csv``, ``arrow`` or ``parquet``.
    :ivar output: a file, ``""`` for standard output. :ivar include_self: keep events that this process causes.
    :ivar attach: attach the programs (``False``: only load, for test runs). :ivar interface: network interface of
        hooks that
        name none. :ivar hz: sampling frequency of profiles instead of their own.
    :ivar cache: use the caches. :ivar settings: values of the program's own options by name.
    """

    __slots__ = (
        "attach", "cache", "cgroup", "color", "comm", "command", "duration", "form", "hz", "include_self",
        "interface", "interval", "output", "pid", "settings", "tid", "top", "verbose",
    )  # fmt: skip

    def __init__(self, **values: Any) -> None:
        self.pid = 0
        self.tid = 0
        self.cgroup = ""
        self.comm = ""
        self.command: list[str] = []
        self.duration: float | None = None
        self.interval: float | None = None
        self.top = 0
        self.form = "text"
        self.output = ""
        self.include_self = False
        self.cache = True
        self.verbose = False
        self.color = False
        self.attach = True
        self.interface = ""
        self.hz = 0
        self.settings: dict[str, Any] = {}
        for name, value in values.items():
            if name not in self.__slots__:
                raise UsageError(
                    "RUN003", f"a run has no option {name!r}", hint=f"options: {', '.join(self.__slots__)}"
                )
            setattr(self, name, value)


class OptionSpec:
    """One option of a program: becomes ``--name`` and a read-only constant in the kernel."""

    __slots__ = ("choices", "default", "help", "metavar", "name", "type")

    def __init__(self, name: str, type: type, default: Any, help: str, metavar: str = "", choices: Any = None) -> None:
        self.name = name
        self.type = type
        self.default = default
        self.help = help
        self.metavar = metavar
        self.choices = choices


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError("RUN004", f"{self.prog}: {message}", hint=f"{self.prog} --help tells the options")


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Help of a fixed width: asking the terminal would import what only ``--help`` needs."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=28, width=100)


def parser(
    prog: str,
    description: str,
    own: Iterable[OptionSpec] = (),
    epilog: str = "",
    hooks: Iterable[str] = (),
) -> argparse.ArgumentParser:
    """The argument parser of a program; ``hooks`` are its kinds of hooks, some of which bring options."""
    result = _Parser(
        prog=prog,
        description=description,
        epilog=epilog,
        allow_abbrev=False,
        usage=f"{prog} [options] [-- COMMAND ...]",
        formatter_class=_formatter,
    )
    mine = result.add_argument_group("options of this program")
    for option in own:
        _add_own(mine, option)
    kinds = set(hooks)
    if kinds & {"xdp", "tc"}:
        mine.add_argument("--interface", default="", metavar="NAME", help="the network interface to attach to")
    if "profile" in kinds:
        mine.add_argument("--hz", type=_positive, default=0, metavar="N", help="samples a second on each CPU")
    which = result.add_argument_group("which processes")
    which.add_argument("-p", "--pid", type=_positive, default=0, metavar="PID", help="only this process")
    which.add_argument("--tid", type=_positive, default=0, metavar="TID", help="only this thread")
    which.add_argument("--cgroup", default="", metavar="PATH", help="only this cgroup (v2) and those below it")
    which.add_argument("--comm", default="", metavar="NAME", help="only tasks of this name")
    which.add_argument("--self", dest="include_self", action="store_true", help="also events caused by Osmia itself")
    when = result.add_argument_group("how long")
    when.add_argument("-d", "--duration", type=_seconds, default=None, metavar="SECONDS", help="stop after this time")
    when.add_argument(
        "-i", "--interval", type=_seconds, default=None, metavar="SECONDS", help="print tables this often"
    )
    how = result.add_argument_group("output")
    form = how.add_mutually_exclusive_group()
    form.add_argument(
        "--json",
        dest="form",
        action="store_const",
        const="json",
        help="one JSON object a line; a traced command's output then goes to standard error",
    )
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="comma-separated values")
    form.add_argument("--parquet", dest="form", action="store_const", const="parquet", help="a Parquet file (--output)")
    form.add_argument("--arrow", dest="form", action="store_const", const="arrow", help="an Arrow IPC file (--output)")
    how.add_argument("-o", "--output", default="", metavar="FILE", help="write there instead of standard output")
    how.add_argument(
        "--top", type=_positive, default=0, metavar="N", help="only the N greatest rows of a table; the first N events"
    )
    how.add_argument("-v", "--verbose", action="store_true", help="more detail: what was chosen, the kernel's own log")
    how.add_argument("--no-cache", dest="cache", action="store_false", help="compile anew and keep nothing")
    return result


def parse(
    prog: str,
    words: Sequence[str],
    description: str = "",
    own: Sequence[OptionSpec] = (),
    epilog: str = "",
    hooks: Iterable[str] = (),
) -> RunOptions:
    """Turns a command line into options; everything after ``--`` is the command to trace.

    :raises UsageError: RUN004 on anything that is no option of the program.
    """
    words = list(words)
    command: list[str] = []
    if "--" in words:
        at = words.index("--")
        words, command = words[:at], words[at + 1 :]
        if not command:
            raise UsageError("RUN004", f"{prog}: there is no command after --", hint="name the command to trace")
    values = vars(parser(prog, description, own, epilog, hooks).parse_args(words))
    settings = {option.name: values.pop(_dest(option)) for option in own}
    values["form"] = values["form"] or "text"
    if command and values["pid"]:
        raise UsageError("RUN004", f"{prog}: --pid and a command exclude each other", hint="leave one of them out")
    return RunOptions(command=command, settings=settings, **values)


def _dest(option: OptionSpec) -> str:
    return f"own_{option.name}"


def _add_own(group: argparse._ArgumentGroup, option: OptionSpec) -> None:
    flag = f"--{option.name.replace('_', '-')}"
    if option.type is bool:
        action = "store_false" if option.default else "store_true"
        name = f"--no-{flag[2:]}" if option.default else flag
        group.add_argument(name, dest=_dest(option), action=action, help=option.help)
        return
    shown = f"{option.help} (default {option.default})" if option.default not in (None, "", 0) else option.help
    group.add_argument(
        flag,
        dest=_dest(option),
        type=option.type if option.type is not int else _integer,
        default=option.default,
        choices=option.choices,
        metavar=option.metavar or ("N" if option.type is int else "TEXT"),
        help=shown.replace("%", "%%"),
    )


def _integer(text: str) -> int:
    return int(text, 0)


def _positive(text: str) -> int:
    value = int(text, 0)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _seconds(text: str) -> float:
    """Seconds: ``5``, ``0.5``, or with a unit: ``500ms``, ``2m``, ``1h``."""
    units = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    number, factor = text, 1.0
    for unit, scale in units.items():
        if text.endswith(unit) and text[: -len(unit)].replace(".", "", 1).isdigit():
            number, factor = text[: -len(unit)], scale
            break
    value = float(number) * factor
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is no time span")
    return value
