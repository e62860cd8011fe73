"""How each operation becomes LLVM IR: one function per row of the table of operations."""

from __future__ import annotations

from osmia.compiler.codegen.lower import calls, control, kernel, memory, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from osmia.compiler.codegen.function import FunctionLowering
    from osmia.compiler.ir import Op

_MODULES = (values, memory, kernel, calls, control)


def lowering(name: str) -> Callable[[FunctionLowering, Op], None]:
    """The function that lowers operations whose row names it."""
    for module in _MODULES:
        found: Callable[[FunctionLowering, Op], None] | None = getattr(module, f"lower_{name}", None)
        if found is not None:
            return found
    raise LookupError(name)
