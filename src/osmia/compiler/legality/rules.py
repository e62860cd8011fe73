"""One rule per operation that needs more than its row says."""

from __future__ import annotations

from osmia.compiler.legality import calls, kernel, memory, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from osmia.compiler.ir import Op
    from osmia.compiler.legality.context import Context

RULES: dict[str, Callable[[Context, Op], None]] = {**values.RULES, **memory.RULES, **kernel.RULES, **calls.RULES}
