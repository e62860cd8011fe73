"""What each operation does: one function per row of the table of operations."""

from __future__ import annotations

from osmia.compiler.evaluate.ops import calls, control, kernel, memory, numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from osmia.compiler.evaluate.frame import Frame
    from osmia.compiler.ir import Op

_MODULES = (numbers, memory, kernel, calls, control)


def evaluation(name: str) -> Callable[[Frame, Op], Any]:
    """The function that evaluates operations whose row names it; a terminator's gives the next label, or None."""
    for module in _MODULES:
        found: Callable[[Frame, Op], Any] | None = getattr(module, f"eval_{name}", None)
        if found is not None:
            return found
    raise LookupError(name)
