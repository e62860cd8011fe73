"""The IR's data structures: module, function, block, operation, value; and the builder that front ends use.

Values are defined once; whatever a source program assigns to repeatedly is a :class:`Local`, read and written by
``local.get`` and ``local.set`` (LLVM turns locals into registers). There are no phi nodes.
"""

from __future__ import annotations

from osmia.compiler.ir.types import VOID
from osmia.diagnostics import NO_SPAN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from osmia.compiler.ir.types import Ptr, ValueType
    from osmia.diagnostics import Span
    from osmia.object.layout import Layout
    from osmia.object.spec import EventSchema, Hook, MapSpec


class Value:
    """The result of an operation, or a function's parameter: a type and a name for the textual form (``%7``)."""

    __slots__ = ("name", "type")

    def __init__(self, name: str, type: ValueType) -> None:
        self.name = name
        self.type = type

    def __repr__(self) -> str:
        return f"%{self.name}: {self.type}"


class Local:
    """A variable of a function: a scalar or pointer (``local.get``/``local.set``) or an aggregate (``local.addr``)."""

    __slots__ = ("name", "span", "type")

    def __init__(self, name: str, type: ValueType | Layout, span: Span = NO_SPAN) -> None:
        self.name = name
        self.type = type
        self.span = span

    def __repr__(self) -> str:
        return f"${self.name}: {self.type}"


class Op:
    """One operation: a row of ``ops.OPS`` by name, operand values, constant attributes, a result and a source span."""

    __slots__ = ("args", "attrs", "name", "result", "span")

    def __init__(
        self, name: str, args: tuple[Value, ...], attrs: dict[str, Any], result: Value | None, span: Span
    ) -> None:
        self.name = name
        self.args = args
        self.attrs = attrs
        self.result = result
        self.span = span

    def __repr__(self) -> str:
        return f"<{self.name} {self.args} {self.attrs} -> {self.result}>"


class Block:
    """A label and operations, the last of which is a terminator."""

    __slots__ = ("label", "ops")

    def __init__(self, label: str) -> None:
        self.label = label
        self.ops: list[Op] = []


class Function:
    """A function of the module.

    :ivar kind: ``program`` (entry of a hook), ``inline`` (inlined into every caller), ``static`` (a bpf-to-bpf call),
        ``global`` (verified on its own), ``callback`` (called by a helper).
    :ivar section: ELF section of a program (``tracepoint/sched/sched_switch``). :ivar hook: where it attaches.
    :ivar sleepable: the program may sleep.
    """

    __slots__ = ("blocks", "hook", "kind", "locals", "name", "params", "result", "section", "sleepable", "span")

    def __init__(
        self,
        name: str,
        params: list[Value],
        result: ValueType = VOID,
        *,
        kind: str = "inline",
        section: str = "",
        hook: Hook | None = None,
        sleepable: bool = False,
        span: Span = NO_SPAN,
    ) -> None:
        self.name = name
        self.params = params
        self.result = result
        self.kind = kind
        self.section = section
        self.hook = hook
        self.sleepable = sleepable
        self.span = span
        self.locals: dict[str, Local] = {}
        self.blocks: list[Block] = []

    def ops(self) -> Iterator[Op]:
        """Every operation in order."""
        for block in self.blocks:
            yield from block.ops


class Global:
    """A global variable in ``.rodata``, ``.data`` or ``.bss`` (all zero); ``init`` has ``layout.size`` bytes."""

    __slots__ = ("init", "layout", "name", "section", "span")

    def __init__(self, name: str, layout: Layout, section: str, init: bytes = b"", span: Span = NO_SPAN) -> None:
        self.name = name
        self.layout = layout
        self.section = section
        self.init = init or bytes(layout.size)
        self.span = span


class Module:
    """Everything that becomes one object file."""

    __slots__ = ("events", "extras", "functions", "globals", "license", "maps", "name")

    def __init__(self, name: str, license: str = "GPL") -> None:
        self.name = name
        self.license = license
        self.maps: dict[str, MapSpec] = {}
        self.globals: dict[str, Global] = {}
        self.functions: dict[str, Function] = {}
        self.events: dict[str, EventSchema] = {}
        self.extras: dict[str, Any] = {}


class FunctionBuilder:
    """Appends operations to a function. ``span`` is stamped on each; set it while walking the source."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.span: Span = function.span
        self._next = 0
        self._labels: dict[str, int] = {}
        self.block = self.new_block("entry")
        self.start(self.block)

    def new_block(self, hint: str = "bb") -> Block:
        """A block with a fresh label, not yet placed."""
        count = self._labels.get(hint, 0)
        self._labels[hint] = count + 1
        return Block(hint if not count else f"{hint}.{count}")

    def start(self, block: Block) -> None:
        """Places the block at the end of the function and appends to it from now on."""
        self.function.blocks.append(block)
        self.block = block

    @property
    def terminated(self) -> bool:
        """Whether the current block has its terminator already."""
        from osmia.compiler.ir.ops import is_terminator

        return bool(self.block.ops) and is_terminator(self.block.ops[-1].name)

    def local(self, name: str, type: ValueType | Layout, span: Span | None = None) -> Local:
        """A new local; a name in use gets a number appended."""
        unique, count = name, 1
        while unique in self.function.locals:
            count += 1
            unique = f"{name}.{count}"
        local = Local(unique, type, span or self.span)
        self.function.locals[unique] = local
        return local

    def emit(self, name: str, /, *args: Value, type: ValueType = VOID, **attrs: Any) -> Value:
        """Appends an operation and returns its result; of no use where the operation's type is ``void``."""
        result = Value(str(self._next), type)
        self._next += 1
        self.block.ops.append(Op(name, args, attrs, None if type is VOID else result, self.span))
        return result

    def const(self, value: int, type: ValueType) -> Value:
        """An integer or boolean constant."""
        return self.emit("const", type=type, value=value)

    def get(self, local: Local) -> Value:
        """The value of a scalar or pointer local."""
        return self.emit("local.get", type=local.type, local=local.name)  # type: ignore[arg-type]

    def set(self, local: Local, value: Value) -> None:
        """Assigns a scalar or pointer local."""
        self.emit("local.set", value, local=local.name)

    def addr(self, local: Local, type: Ptr) -> Value:
        """The address of an aggregate local."""
        return self.emit("local.addr", type=type, local=local.name)
