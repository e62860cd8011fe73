"""From a program and its options to a running session."""

from __future__ import annotations

import sys

from osmia.runtime.cache import Cache
from osmia.runtime.options import RunOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from osmia.lang.program import ProgramDecl
    from osmia.runtime.options import OptionSpec
    from osmia.runtime.session import Session


def run_target(target: str, words: Sequence[str]) -> int:
    """``osmia run TARGET words``: a tool, a program file or an object file; returns the exit status."""
    from osmia.runtime.programs import find_program

    if target.endswith(".o"):
        return run_object(target, words)
    return run_program(find_program(target), words, {}, f"osmia run {target}")


def run_program(program: ProgramDecl, words: Sequence[str], options: dict[str, Any], prog: str = "") -> int:
    """Runs a program with a command line, or with ``options`` where there are any; returns the exit status."""
    settings = RunOptions(**options) if options else parse_options(program, words, prog)
    with open_program(program, settings) as session:
        return session.run()


def run_object(path: str, words: Sequence[str]) -> int:
    """Runs an object file: every program in it that says where it attaches."""
    from osmia.runtime import options
    from osmia.runtime.pipeline import fit, read_file
    from osmia.runtime.session import Session

    settings = options.parse(f"osmia run {path}", words, f"Run the object file {path}.")
    with Session(fit(read_file(path)), settings) as session:
        return session.run()


def open_program(program: ProgramDecl, options: RunOptions | dict[str, Any]) -> Session:
    """The session of a program, not yet entered."""
    from osmia.runtime.pipeline import prepare
    from osmia.runtime.session import Session

    settings = options if isinstance(options, RunOptions) else RunOptions(**options)
    cache = Cache(enabled=settings.cache)
    program.resolve_names()
    prepared = prepare(program, cache, follow=bool(settings.command))
    if settings.verbose:
        times = ", ".join(f"{step} {seconds * 1e3:.1f} ms" for step, seconds in prepared.seconds.items())
        sys.stderr.write(f"program from: {prepared.source}{f' ({times})' if times else ''}\n")
        for note in prepared.notes:
            sys.stderr.write(f"note: {note}\n")
    return Session(prepared.spec, settings, program)


def parse_options(program: ProgramDecl, words: Sequence[str], prog: str = "") -> RunOptions:
    """The options of a program's command line."""
    from osmia.runtime import options

    manual = program.module_globals.get("__doc__") or program.description
    own, kinds = own_options(program)
    return options.parse(prog or program.name, words, program.description, own, epilog=manual, hooks=kinds)


def own_options(program: ProgramDecl) -> tuple[list[OptionSpec], set[str]]:
    """A program's own options, and its kinds of hooks, some of which bring further ones."""
    from osmia.object.layout import Bool, Char
    from osmia.runtime.options import OptionSpec

    own = []
    for option in program.options:
        kind: type = bool if isinstance(option.layout, Bool) else str if isinstance(option.layout, Char) else int
        own.append(OptionSpec(option.name, kind, option.default, option.help, option.metavar, option.choices))
    return own, {function.hook.kind for function in program.functions}
