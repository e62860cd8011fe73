"""Which function lowers which operations."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from osmia.compiler.codegen.function import FunctionLowering
    from osmia.compiler.ir import Op

    Lowering = Callable[[FunctionLowering, Op], None]

LOWER: dict[str, Lowering] = {}
"""Lowering functions by the name that rows of the table of operations give."""


def lowers(*names: str) -> Callable[[Lowering], Lowering]:
    """Registers a function for the rows that name it."""

    def register(function: Lowering) -> Lowering:
        for name in names:
            LOWER[name] = function
        return function

    return register
