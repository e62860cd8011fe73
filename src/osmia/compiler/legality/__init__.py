"""The legality table: what every module must keep to, checked before and between passes.

Rules come in three parts: the module (names, calls), the shape of functions (blocks, dominance), and one rule per
operation. All problems of a module are found, not the first one alone.
"""

from __future__ import annotations

from osmia.compiler.legality.module import module_problems
from osmia.diagnostics import CompileError, MultiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.codegen.target import Target
    from osmia.compiler.ir import Module

MOST = 20
"""Problems reported at once."""


def problems(module: Module, target: Target | None = None) -> list[CompileError]:
    """Everything that is wrong with a module, in the order of functions and operations."""
    if target is None:
        from osmia.compiler.codegen.target import V3

        target = V3
    return module_problems(module, target)


def check(module: Module, target: Target | None = None) -> None:
    """Checks a module.

    :raises CompileError: with a code of the IR area; a :class:`MultiError` where there are several problems.
    """
    found = problems(module, target)
    if len(found) == 1:
        raise found[0]
    if found:
        raise MultiError(found[:MOST])
