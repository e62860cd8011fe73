"""Operands: what an expression is while it is compiled.

An operand is either known now (:class:`Const`: any Python object) or a value of the program: a number, a truth
value, memory, a pointer
to a kernel type, something that may be ``None``, or a tuple of operands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import KArray, KType, Local, Ptr, Space, Value
from osmia.lang.structs import describe as layout_text
from osmia.object.layout import Bytes, Char, Enum, Int, Layout

if TYPE_CHECKING:
    from osmia.frontends.python.slots import OptionalSlot
    from osmia.lang.maps import MapDecl


class Operand:
    """Base of all operands."""

    __slots__ = ()

    def describe(self) -> str:
        """What it is, in the words of a program file, for messages."""
        raise NotImplementedError


class Const(Operand):
    """A Python object known while compiling: a number, text, a map, a function, ``None``..."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def describe(self) -> str:
        if self.value is None:
            return "None"
        if isinstance(self.value, (bool, int, float, str, bytes)):
            shown = repr(self.value)
            return f"the constant {shown if len(shown) < 40 else shown[:37] + '...'}"
        name = getattr(self.value, "__name__", "")
        if isinstance(self.value, type):
            return f"the type {name}"
        return f"{name or type(self.value).__name__}"

    @property
    def is_number(self) -> bool:
        """Whether it is an integer or a truth value."""
        return isinstance(self.value, int)


class Num(Operand):
    """An integer of the program."""

    __slots__ = ("type", "value")

    def __init__(self, value: Value, type: Int) -> None:
        self.value = value
        self.type = type

    def describe(self) -> str:
        return f"a number ({self.type})"


class Truth(Operand):
    """A truth value of the program."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        self.value = value

    def describe(self) -> str:
        return "a truth value (bool)"


class Held:
    """A record of a ring that the function has reserved: where its address is, and whether it still has it."""

    __slots__ = ("flag", "record")

    def __init__(self, flag: Local, record: Local) -> None:
        self.flag = flag
        self.record = record


class Mem(Operand):
    """Memory that the program may access directly: a struct, array, text or bytes.

    :ivar ptr: pointer to it. :ivar layout: what lies there.
    :ivar shared: other CPUs may change it at the same time (so ``+=`` is atomic).
    :ivar writable: whether fields may be assigned. :ivar owned: a variable's own memory, which has that one name.
    :ivar root: pointer to the whole value, its size, and this memory's offset in it; ``None`` where unknown.
    :ivar held: the reservation it belongs to, which must be given back; ``None`` for all other memory.
    """

    __slots__ = ("held", "layout", "owned", "ptr", "root", "shared", "writable")

    def __init__(
        self,
        ptr: Value,
        layout: Layout,
        *,
        shared: bool = False,
        writable: bool = True,
        owned: bool = False,
        root: tuple[Value, int, int] | None = None,
        held: Held | None = None,
    ) -> None:
        self.held = held
        self.ptr = ptr
        self.layout = layout
        self.shared = shared
        self.writable = writable
        self.owned = owned
        self.root = root

    @property
    def space(self) -> Space:
        """The memory it lies in."""
        assert isinstance(self.ptr.type, Ptr)
        return self.ptr.type.space

    def describe(self) -> str:
        kind = "text" if isinstance(self.layout, Char) else "bytes" if isinstance(self.layout, Bytes) else "a value"
        return f"{kind} ({layout_text(self.layout)})"


class KPtr(Operand):
    """An address in kernel or user memory with the type it points to."""

    __slots__ = ("to", "value")

    def __init__(self, value: Value, to: Any) -> None:
        self.value = value
        self.to = to

    @property
    def space(self) -> Space:
        """The memory it points to."""
        assert isinstance(self.value.type, Ptr)
        return self.value.type.space

    def describe(self) -> str:
        where = "user memory" if self.space is Space.USER else "kernel memory"
        return f"a pointer to {ktype_text(self.to)} in {where}"


class KPlace(Operand):
    """A struct, union or array inside a kernel object, reached from a base pointer by CO-RE steps; not loaded yet."""

    __slots__ = ("base", "ptr", "steps", "type")

    def __init__(self, ptr: Value, base: KType, steps: tuple[Any, ...], type: Any) -> None:
        self.ptr = ptr
        self.base = base
        self.steps = steps
        self.type = type

    @property
    def space(self) -> Space:
        """The memory it lies in."""
        assert isinstance(self.ptr.type, Ptr)
        return self.ptr.type.space

    def describe(self) -> str:
        return f"{ktype_text(self.type)} inside {self.base}"


class Maybe(Operand):
    """Something that may be ``None``: a truth value that says whether it is there, and what it then is."""

    __slots__ = ("flag", "inner")

    def __init__(self, flag: Value, inner: Operand) -> None:
        self.flag = flag
        self.inner = inner

    def describe(self) -> str:
        return f"{self.inner.describe()} or None"


class MaybePtr(Operand):
    """A pointer that may be null, not tested yet. ``make`` turns the tested pointer into the operand it stands for."""

    __slots__ = ("make", "value")

    def __init__(self, value: Value, make: Any) -> None:
        self.value = value
        self.make = make

    def describe(self) -> str:
        return "a value that may be None"


class MaybeVar(Operand):
    """A variable that may be ``None``, read where nothing is known about it."""

    __slots__ = ("name", "slot")

    def __init__(self, slot: OptionalSlot, name: str) -> None:
        self.slot = slot
        self.name = name

    def describe(self) -> str:
        return f"'{self.name}', which may be None,"


class Pending(Operand):
    """A test that gives a pointer: the bound check of a packet. ``test`` ends the block and starts the two others."""

    __slots__ = ("test",)

    def __init__(self, test: Any) -> None:
        self.test = test

    def describe(self) -> str:
        return "a header that may be None"


class Group(Operand):
    """A tuple of operands."""

    __slots__ = ("items",)

    def __init__(self, items: list[Operand]) -> None:
        self.items = items

    def describe(self) -> str:
        return f"a tuple of {len(self.items)}"


class Items(Operand):
    """A list display that has no memory yet: its elements, repeated ``times``."""

    __slots__ = ("items", "times")

    def __init__(self, items: list[Operand], times: int = 1) -> None:
        self.items = items
        self.times = times

    @property
    def count(self) -> int:
        """The number of elements."""
        return len(self.items) * self.times

    def describe(self) -> str:
        return f"a list of {self.count}"


class Context(Operand):
    """The program's argument; ``kind`` says how its attributes are read."""

    __slots__ = ("kind",)

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def describe(self) -> str:
        return "the hook's context"


class InnerMap(Operand):
    """A map found in a map of maps."""

    __slots__ = ("decl", "value")

    def __init__(self, value: Value, decl: MapDecl) -> None:
        self.value = value
        self.decl = decl

    def describe(self) -> str:
        return "an inner map"


class Nothing(Operand):
    """The result of a call that returns nothing."""

    __slots__ = ()

    def describe(self) -> str:
        return "nothing (the call has no result)"


def ktype_text(type: Any) -> str:
    """A kernel type in words."""
    if type is None:
        return "bytes"
    if isinstance(type, KType):
        return type.name or f"an anonymous {type.kind}"
    if isinstance(type, KArray):
        return f"{ktype_text(type.element)}[{type.count}]"
    if isinstance(type, Ptr):
        return f"pointer to {ktype_text(type.to)}"
    if isinstance(type, Enum):
        return f"enum {type.name}"
    return layout_text(type)
