"""What shells complete: commands, options, tools and codes, collected from the parsers themselves."""

from __future__ import annotations

from importlib import import_module

from osmia.cli.arguments import completion_of
from osmia.cli.main import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from osmia.lang.program import ProgramDecl

SOURCES = ("file", "program", "object", "tool", "code", "pid", "cgroup", "interface", "shell")
"""What a value can be completed with; ``program`` is a tool, a ``.py`` or a ``.o`` file."""

_RUN_VALUES = {"--pid": "pid", "--tid": "pid", "--cgroup": "cgroup", "--interface": "interface", "--output": "file"}


class Option:
    """One option.

    :ivar flags: its spellings, ``("-o", "--output")``. :ivar takes: whether a value follows. :ivar help: one line.
    :ivar choices: the values it takes, where they are few. :ivar source: what else completes the value, ``""`` nothing.
    :ivar metavar: how the manual calls the value.
    """

    __slots__ = ("choices", "flags", "help", "metavar", "source", "takes")

    def __init__(
        self,
        flags: Sequence[str],
        takes: bool,
        help: str,
        choices: Sequence[str] = (),
        source: str = "",
        metavar: str = "",
    ) -> None:
        self.flags = tuple(flags)
        self.takes = takes
        self.help = help
        self.choices = tuple(choices)
        self.source = source
        self.metavar = metavar


class Command:
    """One command of ``osmia``.

    :ivar positionals: per positional argument its source or choices.
    :ivar repeats: the last positional argument stands for all that follow.
    """

    __slots__ = ("name", "options", "positionals", "repeats", "summary")

    def __init__(
        self, name: str, summary: str, options: list[Option], positionals: list[tuple[str, ...]], repeats: bool
    ) -> None:
        self.name = name
        self.summary = summary
        self.options = options
        self.positionals = positionals
        self.repeats = repeats


def commands() -> list[Command]:
    """Every command with its arguments, in the order of ``osmia --help``."""
    found = []
    for name, summary in COMMANDS.items():
        if name == "run":
            found.append(Command(name, summary, run_options(), [("program",)], False))
            continue
        parser = import_module(f"osmia.cli.commands.{name}").parser()
        options, positionals, repeats = [], [], False
        for action in parser._actions:
            if action.option_strings:
                options.append(_option(action))
            else:
                positionals.append(tuple(action.choices or (completion_of(action),)))
                repeats = action.nargs in ("*", "+")
        found.append(Command(name, summary, options, positionals, repeats))
    return found


def run_options(program: ProgramDecl | None = None) -> list[Option]:
    """The options of ``osmia run TARGET``: the common ones, and those of one program."""
    from osmia.runtime import options
    from osmia.runtime.launch import own_options

    own, kinds = own_options(program) if program is not None else ([], set[str]())
    return [_option(action) for action in options.parser("osmia run", "", own, hooks=kinds)._actions]


def tool_options() -> dict[str, list[Option]]:
    """For each tool the options that it alone has."""
    from osmia.runtime.programs import find_program, tool_names

    common = {option.flags for option in run_options()}
    return {
        name: [option for option in run_options(find_program(name)) if option.flags not in common]
        for name in tool_names()
    }


def words_of(source: str) -> list[str]:
    """The fixed words of a source: tools and codes; nothing for what only the shell knows."""
    if source in ("tool", "program"):
        from osmia.runtime.programs import tool_names

        return tool_names()
    if source == "code":
        from osmia.diagnostics.explain import code_names

        return code_names()
    return ["bash", "zsh", "fish"] if source == "shell" else []


def _option(action: argparse.Action) -> Option:
    takes = action.nargs != 0
    flags = sorted(action.option_strings, key=len)
    source = completion_of(action) or next((_RUN_VALUES[flag] for flag in flags if flag in _RUN_VALUES), "")
    help = (action.help or "").replace("%%", "%").replace("show this help message and exit", "show this help")
    metavar = action.metavar if isinstance(action.metavar, str) else (action.dest.upper() if takes else "")
    return Option(flags, takes, help, [str(each) for each in action.choices or ()], source if takes else "", metavar)
