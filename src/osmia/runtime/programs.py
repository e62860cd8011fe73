"""Finding a program: a ready tool by name, a program file by path."""

from __future__ import annotations

import os
import sys

from osmia.diagnostics import CompileError, Span, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from osmia.lang.program import ProgramDecl


def tools_folder() -> str:
    """The folder that holds the ready tools."""
    return os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools")


def tool_names() -> list[str]:
    """The ready tools, sorted."""
    names = os.listdir(tools_folder())
    return sorted(name[:-3] for name in names if name.endswith(".py") and not name.startswith("_"))


def find_program(target: str) -> ProgramDecl:
    """The program that a tool's name or a file's path stands for.

    :raises UsageError: RUN021 for an unknown tool, RUN022 for a missing file.
    :raises CompileError: RUN023 for a file that is no Python, RUN024 for one that fails, RUN025 for one without a
    program.
    """
    if target.endswith(".py") or "/" in target:
        return program_of(_load_file(target), target)
    if os.path.isfile(os.path.join(tools_folder(), f"{target}.py")) and target.isidentifier():
        from importlib import import_module

        return program_of(import_module(f"osmia.tools.{target}"), target)
    from osmia.diagnostics.text import did_you_mean

    hint = did_you_mean(target, tool_names()) or "osmia tools lists the ready tools; a program file ends in .py"
    raise UsageError("RUN021", f"there is no tool {target!r}", hint=hint)


def program_of(module: ModuleType, target: str) -> ProgramDecl:
    """The one program that a module made."""
    from osmia.lang.program import ProgramDecl

    found = {id(value): value for value in vars(module).values() if isinstance(value, ProgramDecl)}
    own = [value for value in found.values() if value.file == getattr(module, "__file__", "")]
    programs = own or list(found.values())
    if len(programs) == 1:
        return programs[0]
    count = "no program" if not programs else f"{len(programs)} programs"
    raise CompileError(
        "RUN025",
        f"{target} holds {count}",
        span=Span(getattr(module, "__file__", None) or target),
        hint='a program file makes one: prog = Program("name")',
    )


def _load_file(path: str) -> ModuleType:
    """Executes a program file as a module of its own. No bytecode is cached: the file may lie in anybody's folder."""
    from types import ModuleType

    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        raise UsageError("RUN022", f"cannot read {path}: {error.strerror}", hint="check the path") from None
    full = os.path.abspath(path)
    module = ModuleType(os.path.basename(path).removesuffix(".py").replace("-", "_").replace(".", "_"))
    module.__file__ = full
    try:
        code = compile(source, full, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise _syntax(error, full) from None
    except ValueError as error:
        raise CompileError("RUN023", f"{path} is no Python source: {error}", span=Span(full)) from None
    sys.modules[module.__name__] = module
    sys.path.insert(0, os.path.dirname(full))
    try:
        exec(code, vars(module))
    except Exception as error:
        raise _failed(error, full, path) from error
    finally:
        sys.path.pop(0)
    return module


def _syntax(error: SyntaxError, path: str) -> CompileError:
    line = error.lineno or 1
    column = max((error.offset or 1) - 1, 0)
    end = max((error.end_offset or 0) - 1, column + 1) if error.end_lineno == error.lineno else column + 1
    return CompileError(
        "RUN023",
        f"not valid Python: {error.msg}",
        span=Span(path, line, column, line, end),
        hint="a program file is ordinary Python; python -m py_compile shows the same error",
    )


def _failed(error: Exception, full: str, path: str) -> Exception:
    """The error of a file that failed while it ran: Osmia's own gets the place, any other becomes RUN024."""
    from osmia.diagnostics import OsmiaError

    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == full:
            line = trace.tb_lineno
        trace = trace.tb_next
    span = Span(full, line, 0, line, 10_000) if line else Span(full)
    if isinstance(error, OsmiaError):
        if not error.span.file:
            error.span = span
        return error
    return CompileError(
        "RUN024",
        f"{path} failed while it was loaded: {type(error).__name__}: {error}",
        span=span,
        hint="the file runs as ordinary Python before anything is compiled; run it with python to see the traceback",
    )
