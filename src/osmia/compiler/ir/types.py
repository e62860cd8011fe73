"""The IR's types: scalars and memory layouts come from ``object.layout``; pointers carry the memory they point to."""

from __future__ import annotations

from enum import Enum

from osmia.object.layout import Bool, Int, Layout


class Space(Enum):
    """The memory a pointer points to, and so who may read it and how."""

    STACK = "stack"  # a local of this activation (or scratch memory that stands in for it)
    CTX = "ctx"  # the hook's context: fixed fields, constant offsets only
    MAP = "map"  # a map value
    RING = "ring"  # a reserved ring buffer record
    GLOBAL = "global"  # .rodata, .data, .bss
    PACKET = "packet"  # packet data; readable only below a proven bound
    BTF = "btf"  # kernel memory that the verifier knows by its BTF type: plain loads
    KERNEL = "kernel"  # kernel memory by address only: probe reads
    USER = "user"  # user memory: probe reads that may fault
    MEM = "mem"  # other memory the verifier bounds (helper results, callback arguments)


class KType:
    """A kernel type named in BTF; ``kind`` is ``struct``, ``union``, ``enum`` or ``typedef``."""

    __slots__ = ("kind", "name")

    def __init__(self, name: str, kind: str = "struct") -> None:
        self.name = name
        self.kind = kind

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KType) and (self.name, self.kind) == (other.name, other.kind)

    def __hash__(self) -> int:
        return hash((self.name, self.kind))

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    __repr__ = __str__


class KArray:
    """An array inside a kernel type: ``count`` elements of a layout, kernel type, array or pointer."""

    __slots__ = ("count", "element")

    def __init__(self, element: Layout | KType | KArray | Ptr, count: int) -> None:
        self.element = element
        self.count = count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KArray) and (self.element, self.count) == (other.element, other.count)

    def __hash__(self) -> int:
        return hash((self.element, self.count))

    def __str__(self) -> str:
        return f"{self.element}[{self.count}]"

    __repr__ = __str__


class Ptr:
    """A pointer: its memory, what it points to (``None``: bytes), whether it may be null, how many bytes are proven.

    ``bound`` is the number of readable bytes for packet and mem pointers after their check; ``None`` where the
    pointee's size is the bound.
    """

    __slots__ = ("bound", "nullable", "space", "to")

    def __init__(
        self,
        space: Space,
        to: Layout | KType | KArray | Ptr | None = None,
        nullable: bool = False,
        bound: int | None = None,
    ) -> None:
        self.space = space
        self.to = to
        self.nullable = nullable
        self.bound = bound

    def nonnull(self) -> Ptr:
        """The same pointer after its null check."""
        return Ptr(self.space, self.to, False, self.bound)

    def _key(self) -> tuple[object, ...]:
        return (self.space, self.to, self.nullable, self.bound)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ptr) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        bound = "" if self.bound is None else f", {self.bound}"
        to = "bytes" if self.to is None else self.to
        return f"ptr<{self.space.value}, {to}{bound}>{'?' if self.nullable else ''}"

    __repr__ = __str__


class Marker:
    """A type without structure: ``void``, a reference to a map, a reference to a function."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


VOID = Marker("void")
MAP_REF = Marker("map")
FUNC_REF = Marker("func")

ValueType = Int | Bool | Ptr | Marker
"""What a value (the result of an operation) can be. Aggregates live in memory and are reached through pointers."""
