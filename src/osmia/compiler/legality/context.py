"""What the rules work with: the module, the function at hand, and where problems go."""

from __future__ import annotations

from osmia.diagnostics import CompileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.abi.map_types import MapType
    from osmia.compiler.codegen.target import Target
    from osmia.compiler.ir import Function, Module, Op
    from osmia.diagnostics import Span


class Context:
    """The state of one check."""

    def __init__(self, module: Module, target: Target) -> None:
        self.module = module
        self.target = target
        self.found: list[CompileError] = []
        self.function: Function | None = None
        self.definitions: dict[str, Op] = {}

    def refuse(self, code: str, message: str, span: Span | None = None, hint: str | None = None) -> None:
        """Records a problem."""
        self.found.append(CompileError(code, message, span=span, hint=hint))

    def at(self, op: Op, code: str, message: str, hint: str | None = None) -> None:
        """Records a problem of an operation."""
        assert self.function is not None
        span = op.span if op.span.file else self.function.span
        self.refuse(code, f"{op.name}: {message}", span, hint)

    def map_type(self, name: str) -> MapType | None:
        """The row of a map's type; None where the map or its type is unknown (which is reported elsewhere)."""
        spec = self.module.maps.get(name)
        if spec is None:
            return None
        from osmia.abi.map_types import TABLE

        found: MapType | None = TABLE.find(spec.kind)
        return found
