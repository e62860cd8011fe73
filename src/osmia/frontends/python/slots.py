"""Variables: where the values of a Python variable are kept, by the kind of its first value.

A slot is made once per variable and knows how to store and load; slots nest (a tuple has one per part, an optional
one for what
is inside). :class:`Flow` is what is known on one way through a function: which variables are bound, which optional
ones are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import Local, Ptr, Space
from osmia.diagnostics import NO_SPAN, Span
from osmia.frontends.python.values import (
    Const,
    Context,
    Group,
    InnerMap,
    KPlace,
    KPtr,
    Maybe,
    MaybePtr,
    MaybeVar,
    Mem,
    Num,
    Operand,
    Pending,
    Truth,
)
from osmia.lang.structs import describe
from osmia.object.layout import BOOL, Array, Bytes, Char, Int, Layout, Struct

if TYPE_CHECKING:
    import ast

    from osmia.frontends.python.function import Fn


class Slot:
    """Base of all slots."""

    __slots__ = ()

    def text(self) -> str:
        """What it holds, for messages."""
        raise NotImplementedError

    def accepts(self, operand: Operand) -> bool:
        """Whether an operand may be stored."""
        raise NotImplementedError

    def store(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        """Stores an operand that :meth:`accepts` took."""
        raise NotImplementedError

    def load(self, fn: Fn, name: str) -> Operand:
        """What is stored."""
        raise NotImplementedError

    def parts(self) -> list[Slot]:
        """This slot and all inside."""
        return [self]


class NumSlot(Slot):
    """A number of a fixed type; one that is declared (by an annotation) takes the low bits of wider numbers."""

    __slots__ = ("declared", "local", "type")

    def __init__(self, fn: Fn, name: str, type: Int, declared: bool = False) -> None:
        self.type = type
        self.declared = declared
        self.local = fn.fb.local(name, type)

    def text(self) -> str:
        return str(self.type)

    def accepts(self, operand: Operand) -> bool:
        if isinstance(operand, Const):
            return isinstance(operand.value, int)
        if isinstance(operand, Truth):
            return True
        return isinstance(operand, Num) and (self.declared or operand.type.bits <= self.type.bits)

    def store(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        fn.fb.set(self.local, fn.to_int(operand, self.type, node))

    def load(self, fn: Fn, name: str) -> Operand:
        return Num(fn.fb.get(self.local), self.type)


class BoolSlot(Slot):
    """A truth value."""

    __slots__ = ("local",)

    def __init__(self, fn: Fn, name: str) -> None:
        self.local = fn.fb.local(name, BOOL)

    def text(self) -> str:
        return "bool"

    def accepts(self, operand: Operand) -> bool:
        return isinstance(operand, Truth) or (isinstance(operand, Const) and isinstance(operand.value, bool))

    def store(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        fn.fb.set(self.local, fn.truth(operand, node))

    def load(self, fn: Fn, name: str) -> Operand:
        return Truth(fn.fb.get(self.local))


class OwnSlot(Slot):
    """A struct, array, text or bytes in the function's own memory; storing copies."""

    __slots__ = ("layout", "local")

    def __init__(self, fn: Fn, name: str, layout: Layout) -> None:
        self.layout = layout
        self.local = fn.fb.local(name, layout)

    def text(self) -> str:
        return describe(self.layout)

    def accepts(self, operand: Operand) -> bool:
        if isinstance(self.layout, Char):
            if isinstance(operand, Const):
                return isinstance(operand.value, str) and len(operand.value.encode()) <= self.layout.size
            layout = memory_layout(operand) if isinstance(operand, (Mem, KPlace)) else None
            return isinstance(layout, Char) and layout.size <= self.layout.size
        if isinstance(self.layout, Bytes) and isinstance(operand, Const):
            return isinstance(operand.value, bytes) and len(operand.value) == self.layout.size
        return isinstance(operand, (Mem, KPlace)) and memory_layout(operand) == self.layout

    def store(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        fn.write(self.pointer_value(fn), self.layout, operand, node)

    def load(self, fn: Fn, name: str) -> Operand:
        pointer = self.pointer_value(fn)
        return Mem(pointer, self.layout, owned=True, root=(pointer, self.layout.size, 0))

    def pointer_value(self, fn: Fn) -> Any:
        return fn.fb.addr(self.local, Ptr(Space.STACK, self.layout))


class RemoteSlot(OwnSlot):
    """An own variable of the enclosing function, reached from a callback through a pointer."""

    __slots__ = ("pointer",)

    def __init__(self, fn: Fn, name: str, layout: Layout) -> None:
        self.layout = layout
        self.pointer = fn.fb.local(name, Ptr(Space.STACK, layout))

    def pointer_value(self, fn: Fn) -> Any:
        return fn.fb.get(self.pointer)


class RefSlot(Slot):
    """A reference to memory that somebody else owns: a map value, a ring record, a packet."""

    __slots__ = ("held", "layout", "local", "shared", "type", "writable")

    def __init__(self, fn: Fn, name: str, sample: Mem) -> None:
        assert isinstance(sample.ptr.type, Ptr)
        self.held = sample.held
        self.type = sample.ptr.type
        self.layout = sample.layout
        self.shared = sample.shared
        self.writable = sample.writable
        self.local = fn.fb.local(name, self.type)

    def text(self) -> str:
        return f"{describe(self.layout)} in {self.type.space.value} memory"

    def accepts(self, operand: Operand) -> bool:
        return (
            isinstance(operand, Mem)
            and not operand.owned
            and operand.ptr.type == self.type
            and (operand.shared, operand.writable) == (self.shared, self.writable)
        )

    def store(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        assert isinstance(operand, Mem)
        if operand.held is not self.held:
            self.held = None  # one of several reservations
        fn.fb.set(self.local, operand.ptr)

    def load(self, fn: Fn, name: str) -> Operand:
        pointer = fn.fb.get(self.local)
        root = (pointer, self.layout.size, 0)
        return Mem(pointer, self.layout, shared=self.shared, writable=self.writable, root=root, held=self.held)


class PointerSlot(Slot):
    """A pointer to a kernel type."""

    __slots__ = ("local", "to", "type")

    def __init__(self, fn: Fn, name: str, sample: KPtr) -> None:
        assert isinstance(sample.value.type, Ptr)
        self.type = sample.value.type.nonnull()
        self.to = sample.to
        self.local = fn.fb.local(name, self.type)

    def text(self) -> str:
        return f"pointer to {self.to}"

    def accepts(self, operand: Operand) -> bool:
        if isinstance(operand, Const):
            return operand.value is None
        return isinstance(operand, KPtr) and operand.to == self.to and operand.space is self.type.space

    def store(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        fn.fb.set(self.local, fn.null(self.type) if isinstance(operand, Const) else fn.plain_pointer(operand))

    def load(self, fn: Fn, name: str) -> Operand:
        return KPtr(fn.fb.get(self.local), self.to)


class ContextSlot(Slot):
    """The program's argument under a name."""

    __slots__ = ("context", "local")

    def __init__(self, fn: Fn, name: str, context: Context) -> None:
        self.context = context
        self.local = fn.fb.local(name, fn.context_type)

    def text(self) -> str:
        return "the hook's context"

    def accepts(self, operand: Operand) -> bool:
        return isinstance(operand, Context)

    def store(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        fn.fb.set(self.local, fn.context_value())

    def load(self, fn: Fn, name: str) -> Operand:
        return self.context


class MapSlot(Slot):
    """A map found in a map of maps."""

    __slots__ = ("decl", "local")

    def __init__(self, fn: Fn, name: str, sample: InnerMap) -> None:
        self.decl = sample.decl
        self.local = fn.fb.local(name, sample.value.type)

    def text(self) -> str:
        return "an inner map"

    def accepts(self, operand: Operand) -> bool:
        return isinstance(operand, InnerMap) and operand.decl is self.decl

    def store(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        assert isinstance(operand, InnerMap)
        fn.fb.set(self.local, operand.value)

    def load(self, fn: Fn, name: str) -> Operand:
        return InnerMap(fn.fb.get(self.local), self.decl)


class AliasSlot(Slot):
    """A parameter that stands for memory of the caller; never assigned."""

    __slots__ = ("operand",)

    def __init__(self, operand: Operand) -> None:
        self.operand = operand

    def text(self) -> str:
        return self.operand.describe()

    def accepts(self, operand: Operand) -> bool:
        return False

    def store(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        """Never called: nothing is accepted."""

    def load(self, fn: Fn, name: str) -> Operand:
        return self.operand


class ConstSlot(Slot):
    """A parameter or loop variable whose value is known while compiling."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def text(self) -> str:
        return Const(self.value).describe()

    def accepts(self, operand: Operand) -> bool:
        return isinstance(operand, Const) and operand.value is self.value

    def store(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        """Nothing to keep: the value is in the slot."""

    def load(self, fn: Fn, name: str) -> Operand:
        return Const(self.value)


class GroupSlot(Slot):
    """A tuple: one slot per part."""

    __slots__ = ("slots",)

    def __init__(self, slots: list[Slot]) -> None:
        self.slots = slots

    def text(self) -> str:
        return f"({', '.join(slot.text() for slot in self.slots)})"

    def accepts(self, operand: Operand) -> bool:
        return (
            isinstance(operand, Group)
            and len(operand.items) == len(self.slots)
            and all(slot.accepts(item) for slot, item in zip(self.slots, operand.items, strict=True))
        )

    def store(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        assert isinstance(operand, Group)
        for slot, item in zip(self.slots, operand.items, strict=True):
            slot.store(fn, item, node)

    def load(self, fn: Fn, name: str) -> Operand:
        return Group([slot.load(fn, f"{name}[{index}]") for index, slot in enumerate(self.slots)])

    def parts(self) -> list[Slot]:
        return [self, *(part for slot in self.slots for part in slot.parts())]


class OptionalSlot(Slot):
    """Something that may be ``None``: a flag and a slot for what is inside. The inner slot is made by the first
    value."""

    __slots__ = ("flag", "inner")

    def __init__(self, fn: Fn, name: str, inner: Slot | None) -> None:
        self.flag: Local = fn.fb.local(f"{name}.there", BOOL)
        self.inner = inner

    def text(self) -> str:
        return "None" if self.inner is None else f"{self.inner.text()} or None"

    def accepts(self, operand: Operand) -> bool:
        if isinstance(operand, Const) and operand.value is None:
            return True
        if isinstance(operand, (Maybe, MaybePtr, MaybeVar, Pending)):
            return True  # what is inside is known once it is tested
        return self.inner is None or self.inner.accepts(operand)

    def store(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        if isinstance(operand, Const) and operand.value is None:
            fn.fb.set(self.flag, fn.fb.const(0, BOOL))
            fn.flow.there[self] = False
            return
        if isinstance(operand, (Maybe, MaybePtr, MaybeVar, Pending)):
            self._store_maybe(fn, operand, node)
            return
        self._store_inner(fn, operand, node)
        fn.flow.there[self] = True

    def _store_inner(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        if self.inner is None:
            self.inner = new_slot(fn, self.flag.name.removesuffix(".there"), operand, node)
        elif not self.inner.accepts(operand):
            raise fn.error(
                "PY210", node, f"this is {operand.describe()}, and the variable holds {self.text()}",
                hint="use another variable",
            )  # fmt: skip
        self.inner.store(fn, operand, node)
        fn.fb.set(self.flag, fn.fb.const(1, BOOL))

    def _store_maybe(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        missing, end = fn.blocks("missing", "stored")
        inner = fn.split(operand, missing)
        self._store_inner(fn, inner, node)
        fn.goto(end)
        fn.enter(missing)
        fn.fb.set(self.flag, fn.fb.const(0, BOOL))
        fn.goto(end)
        fn.enter(end)
        fn.flow.there.pop(self, None)

    def load(self, fn: Fn, name: str) -> Operand:
        known = fn.flow.there.get(self)
        if known is False or self.inner is None:
            return Const(None)
        return self.inner.load(fn, name) if known else MaybeVar(self, name)

    def parts(self) -> list[Slot]:
        return [self, *(self.inner.parts() if self.inner is not None else [])]


class Variable:
    """A variable of a Python function.

    :ivar slot: where it is kept, ``None`` until its first value. :ivar span: its first assignment.
    :ivar gone: why it cannot be read any more (a submitted record), by flow.
    """

    __slots__ = ("name", "slot", "span")

    def __init__(self, name: str, span: Span = NO_SPAN) -> None:
        self.name = name
        self.slot: Slot | None = None
        self.span = span


class Flow:
    """What is known at one point of a function.

    :ivar bound: variables that have a value on every way here. :ivar there: optional slots known to be there or
        ``None``.
    :ivar gone: variables whose record was given away, with the reason. :ivar dead: nothing comes here.
    """

    __slots__ = ("bound", "dead", "gone", "there")

    def __init__(self) -> None:
        self.bound: set[Variable] = set()
        self.there: dict[OptionalSlot, bool] = {}
        self.gone: dict[Variable, str] = {}
        self.dead = False

    def copy(self) -> Flow:
        """An independent copy."""
        other = Flow()
        other.bound = set(self.bound)
        other.there = dict(self.there)
        other.gone = dict(self.gone)
        other.dead = self.dead
        return other

    @staticmethod
    def merge(flows: list[Flow]) -> Flow:
        """What holds on all of several ways."""
        flows = [flow for flow in flows if not flow.dead] or flows
        merged = flows[0].copy()
        for other in flows[1:]:
            merged.bound &= other.bound
            merged.gone.update(other.gone)
            for slot, known in list(merged.there.items()):
                if other.there.get(slot) is not known:
                    del merged.there[slot]
        return merged


def memory_layout(operand: Mem | KPlace) -> Layout | None:
    """The layout of memory once it is in reach: of a kernel array of characters or bytes, ``Char`` or ``Bytes``."""
    if isinstance(operand, Mem):
        return operand.layout
    return operand.type if isinstance(operand.type, Layout) else None


def new_slot(fn: Fn, name: str, operand: Operand, node: ast.AST) -> Slot:
    """A slot for a variable whose first value is ``operand``."""
    if isinstance(operand, Const):
        return _const_slot(fn, name, operand, node)
    if isinstance(operand, Num):
        return NumSlot(fn, name, operand.type)
    if isinstance(operand, Truth):
        return BoolSlot(fn, name)
    if isinstance(operand, KPlace) and isinstance(operand.type, Layout):
        return OwnSlot(fn, name, operand.type)
    if isinstance(operand, Mem):
        return _memory_slot(fn, name, operand, node)
    if isinstance(operand, KPtr):
        return PointerSlot(fn, name, operand)
    if isinstance(operand, (Maybe, MaybePtr, MaybeVar, Pending)):
        return OptionalSlot(fn, name, None)
    if isinstance(operand, Group):
        return GroupSlot([new_slot(fn, f"{name}.{index}", item, node) for index, item in enumerate(operand.items)])
    if isinstance(operand, Context):
        return ContextSlot(fn, name, operand)
    if isinstance(operand, InnerMap):
        return MapSlot(fn, name, operand)
    raise fn.error("PY211", node, f"{operand.describe()} cannot be kept in a variable")


def _const_slot(fn: Fn, name: str, operand: Const, node: ast.AST) -> Slot:
    value = operand.value
    if value is None:
        return OptionalSlot(fn, name, None)
    if isinstance(value, bool):
        return BoolSlot(fn, name)
    if isinstance(value, int):
        return NumSlot(fn, name, fn.literal_type(int(value), node))
    if isinstance(value, str):
        return OwnSlot(fn, name, Char(max(1, len(value.encode("utf-8", "surrogatepass")))))
    if isinstance(value, bytes):
        return OwnSlot(fn, name, Bytes(max(1, len(value))))
    if isinstance(value, float):
        raise fn.error("PY103", node, "there is no floating point in the kernel", hint="use scaled integers")
    return ConstSlot(value)


def _memory_slot(fn: Fn, name: str, operand: Mem, node: ast.AST) -> Slot:
    if isinstance(operand.layout, (Char, Bytes)):
        return OwnSlot(fn, name, operand.layout)
    if operand.space is Space.STACK:
        if operand.owned:
            kind = "array" if isinstance(operand.layout, Array) else "struct"
            raise fn.error(
                "PY212", node, f"this {kind} would have two names",
                hint="a struct or array of the function's own has one name: write copy(x), from Python's module copy",
            )  # fmt: skip
        return OwnSlot(fn, name, operand.layout)
    assert isinstance(operand.layout, (Struct, Array))
    return RefSlot(fn, name, operand)
