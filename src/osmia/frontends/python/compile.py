"""From a declared program to a module of typed IR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from osmia.diagnostics import CompileError, MultiError, OsmiaError, Span
from osmia.frontends.python.function import Poisoned
from osmia.frontends.python.globals import declare_variable
from osmia.frontends.python.hooks import compile_function
from osmia.frontends.python.unit import Target, Unit
from osmia.lang import prelude
from osmia.lang.hooks import KernelFunction
from osmia.object.spec import Hook

if TYPE_CHECKING:
    from osmia.btf.reader import Btf
    from osmia.compiler.ir import Module
    from osmia.lang.program import ProgramDecl


def compile_program(
    decl: ProgramDecl, *, btf: Btf | None = None, target: Target | None = None, follow: bool = True
) -> Module:
    """Compiles every kernel function of a program.

    :param btf: types of the kernel that the program is compiled for; without it kernel types and raw tracepoints are
        refused. :param target: the machine, and formats of tracepoints that BTF does not know.
    :param follow: with the programs that follow a command's process tree, which a run without a command does not need.
    :raises CompileError: one error. :raises MultiError: several, in source order.
    """
    decl.resolve_names()
    unit = Unit(decl, btf, target or Target())
    errors: list[OsmiaError] = unit.errors
    try:
        unit.declare_maps()
        for variable in decl.variables:
            declare_variable(unit, variable)
    except OsmiaError as error:
        errors.append(error)
    if not decl.functions:
        raise CompileError(
            "PY205", f"program {decl.name} has no kernel functions", span=Span(decl.file),
            hint="put a hook decorator above a function: @prog.tracepoint(...)",
        )  # fmt: skip
    _compile_all(unit, decl.functions)
    if follow and unit.filtered and unit.has_kernel:
        _compile_all(unit, _tree_functions(decl))
    if errors:
        errors.sort(key=lambda error: (error.span.file, error.span.line, error.span.column))
        raise errors[0] if len(errors) == 1 else MultiError(errors)
    return unit.finish()


def _compile_all(unit: Unit, functions: list[KernelFunction]) -> None:
    """Compiles functions one after the other; errors are collected."""
    for function in functions:
        try:
            if function.name in unit.module.functions:
                raise CompileError(
                    "PY206", f"program {unit.decl.name} has two kernel functions named {function.name}",
                    span=Span(function.function.__code__.co_filename, function.function.__code__.co_firstlineno),
                    hint="give one of them another name",
                )  # fmt: skip
            compile_function(unit, function)
        except Poisoned:
            return
        except OsmiaError as error:
            unit.errors.append(error)


def _tree_functions(decl: ProgramDecl) -> list[KernelFunction]:
    """The programs that follow a command's process tree; the session loads them when it traces one."""
    return [
        KernelFunction(decl, function, Hook("raw_tracepoint", event), when="tree")
        for function, event in (
            (prelude.osmia_tree_fork, "sched_process_fork"),
            (prelude.osmia_tree_exit, "sched_process_free"),
        )
    ]
