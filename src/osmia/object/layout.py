"""Data layouts: how a value lies in memory, and how it becomes a Python value.

Keys, values, events and globals are described by these types, in every room from the front ends to the
printed table. They are plain data; a layout made by the Python front end, one read from an object's BTF and one
loaded from a cache are equal when they describe the same bytes. All sizes are in bytes, all data is
in the machine's byte order (BPF follows the CPU; only little-endian targets are generated today).
"""

from __future__ import annotations

import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

ORDER = "<" if sys.byteorder == "little" else ">"
_INT_CODES = {(8, False): "B", (8, True): "b", (16, False): "H", (16, True): "h"}
_INT_CODES |= {(32, False): "I", (32, True): "i", (64, False): "Q", (64, True): "q"}


class Layout:
    """A type with a fixed size and alignment.

    :ivar size: bytes that one value takes.
    :ivar align: alignment in bytes.
    """

    __slots__ = ("align", "size")
    size: int
    align: int

    def plain(self) -> tuple[Any, ...]:
        """The layout as nested tuples of str and int; equal layouts give equal tuples. See :func:`from_plain`."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def format(self) -> str:
        """A ``struct`` format of exactly ``size`` bytes without byte order; one item per scalar leaf."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def dtype(self) -> Any:
        """What ``numpy.dtype`` takes to describe one value."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def unpack(self, data: bytes | memoryview, offset: int = 0) -> Any:
        """The Python value of the ``size`` bytes at ``offset``."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def pack(self, value: Any) -> bytes:
        """The bytes of a Python value; raises ``ValueError`` or ``TypeError`` when it does not fit."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self.plain() == other.plain()

    def __hash__(self) -> int:
        return hash(self.plain())

    def __repr__(self) -> str:
        return f"<{self}>"


class Int(Layout):
    """An integer of 8, 16, 32 or 64 bits."""

    __slots__ = ("bits", "signed")

    def __init__(self, bits: int, signed: bool = False) -> None:
        if bits not in (8, 16, 32, 64):
            raise ValueError(f"an integer has 8, 16, 32 or 64 bits, not {bits}")
        self.bits = bits
        self.signed = signed
        self.size = self.align = bits // 8

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.bits}"

    def plain(self) -> tuple[Any, ...]:
        return ("int", self.bits, self.signed)

    def format(self) -> str:
        return _INT_CODES[self.bits, self.signed]

    def dtype(self) -> Any:
        return f"{ORDER}{'i' if self.signed else 'u'}{self.size}"

    def unpack(self, data: bytes | memoryview, offset: int = 0) -> int:
        return int.from_bytes(data[offset : offset + self.size], sys.byteorder, signed=self.signed)

    def pack(self, value: Any) -> bytes:
        if not isinstance(value, int):
            value = value.__index__()
        low, high = self.range()
        if not low <= value <= high:
            raise ValueError(f"{value} does not fit {self} ({low} to {high})")
        return int(value).to_bytes(self.size, sys.byteorder, signed=self.signed)

    def range(self) -> tuple[int, int]:
        """The least and the greatest value."""
        if self.signed:
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return 0, (1 << self.bits) - 1


class Bool(Layout):
    """A truth value in one byte, 0 or 1."""

    __slots__ = ()

    def __init__(self) -> None:
        self.size = self.align = 1

    def __str__(self) -> str:
        return "bool"

    def plain(self) -> tuple[Any, ...]:
        return ("bool",)

    def format(self) -> str:
        return "?"

    def dtype(self) -> Any:
        return "?"

    def unpack(self, data: bytes | memoryview, offset: int = 0) -> bool:
        return data[offset] != 0

    def pack(self, value: Any) -> bytes:
        return b"\1" if value else b"\0"


class Enum(Layout):
    """An integer with names. Unpacks to ``int``; :meth:`name_of` gives the name."""

    __slots__ = ("base", "members", "name")

    def __init__(self, name: str, base: Int, members: Iterable[tuple[str, int]] = ()) -> None:
        self.name = name
        self.base = base
        self.members = tuple(members)
        self.size = base.size
        self.align = base.align

    def __str__(self) -> str:
        return f"enum {self.name}"

    def plain(self) -> tuple[Any, ...]:
        return ("enum", self.name, self.base.plain(), self.members)

    def format(self) -> str:
        return self.base.format()

    def dtype(self) -> Any:
        return self.base.dtype()

    def unpack(self, data: bytes | memoryview, offset: int = 0) -> int:
        return self.base.unpack(data, offset)

    def pack(self, value: Any) -> bytes:
        if isinstance(value, str):
            for name, number in self.members:
                if name == value:
                    return self.base.pack(number)
            raise ValueError(f"{value!r} is no member of {self}")
        return self.base.pack(value)

    def name_of(self, value: int) -> str | None:
        """The first member's name with this value."""
        return next((name for name, number in self.members if number == value), None)


class Char(Layout):
    """Text in ``size`` bytes, ended by a NUL byte or the end; ``str`` in Python, undecodable bytes escaped."""

    __slots__ = ()

    def __init__(self, size: int) -> None:
        self.size = size
        self.align = 1

    def __str__(self) -> str:
        return f"char[{self.size}]"

    def plain(self) -> tuple[Any, ...]:
        return ("char", self.size)

    def format(self) -> str:
        return f"{self.size}s"

    def dtype(self) -> Any:
        return f"S{self.size}"

    def unpack(self, data: bytes | memoryview, offset: int = 0) -> str:
        raw = bytes(data[offset : offset + self.size])
        return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")

    def pack(self, value: Any) -> bytes:
        raw = value.encode() if isinstance(value, str) else bytes(value)
        if len(raw) > self.size:
            raise ValueError(f"{len(raw)} bytes of text do not fit {self}")
        return raw.ljust(self.size, b"\0")


class Bytes(Layout):
    """``size`` raw bytes; ``bytes`` in Python."""

    __slots__ = ()

    def __init__(self, size: int) -> None:
        self.size = size
        self.align = 1

    def __str__(self) -> str:
        return f"bytes[{self.size}]"

    def plain(self) -> tuple[Any, ...]:
        return ("bytes", self.size)

    def format(self) -> str:
        return f"{self.size}s"

    def dtype(self) -> Any:
        return f"V{self.size}"

    def unpack(self, data: bytes | memoryview, offset: int = 0) -> bytes:
        return bytes(data[offset : offset + self.size])

    def pack(self, value: Any) -> bytes:
        raw = bytes(value)
        if len(raw) != self.size:
            raise ValueError(f"{len(raw)} bytes do not fit {self}")
        return raw


class Array(Layout):
    """``count`` equal elements; a ``list`` in Python."""

    __slots__ = ("count", "element")

    def __init__(self, element: Layout, count: int) -> None:
        self.element = element
        self.count = count
        self.size = element.size * count
        self.align = element.align

    def __str__(self) -> str:
        return f"{self.element}[{self.count}]"

    def plain(self) -> tuple[Any, ...]:
        return ("array", self.element.plain(), self.count)

    def format(self) -> str:
        return self.element.format() * self.count

    def dtype(self) -> Any:
        return (self.element.dtype(), (self.count,))

    def unpack(self, data: bytes | memoryview, offset: int = 0) -> list[Any]:
        if isinstance(self.element, Int):
            return list(struct.unpack_from(f"{ORDER}{self.count}{self.element.format()}", data, offset))
        step = self.element.size
        return [self.element.unpack(data, offset + index * step) for index in range(self.count)]

    def pack(self, value: Any) -> bytes:
        items = list(value)
        if len(items) != self.count:
            raise ValueError(f"{len(items)} elements do not fit {self}")
        return b"".join(self.element.pack(item) for item in items)


class Field:
    """A member of a struct: name, layout, byte offset; ``bits`` > 0 makes it a bitfield at ``bit`` of its unit."""

    __slots__ = ("bit", "bits", "name", "offset", "type")

    def __init__(self, name: str, type: Layout, offset: int, bit: int = 0, bits: int = 0) -> None:
        self.name = name
        self.type = type
        self.offset = offset
        self.bit = bit
        self.bits = bits


class Struct(Layout):
    """Named fields at fixed offsets. Unpacks to ``factory(*values)``, a tuple where there is no factory.

    A factory (the user's event class) is no part of the layout's identity.
    """

    __slots__ = ("_by_name", "factory", "fields", "name")

    def __init__(
        self, name: str, fields: Iterable[Field], size: int, align: int, factory: Callable[..., Any] | None = None
    ) -> None:
        self.name = name
        self.fields = tuple(fields)
        self.size = size
        self.align = align
        self.factory = factory
        self._by_name = {field.name: field for field in self.fields}

    @classmethod
    def of(cls, name: str, members: Iterable[tuple[str, Layout]], factory: Callable[..., Any] | None = None) -> Struct:
        """A struct laid out as a C compiler would lay it out, with natural alignment."""
        offset = 0
        align = 1
        fields = []
        for member, layout in members:
            offset = -(-offset // layout.align) * layout.align
            fields.append(Field(member, layout, offset))
            offset += layout.size
            align = max(align, layout.align)
        return cls(name, fields, -(-offset // align) * align, align, factory)

    def __str__(self) -> str:
        return f"struct {self.name}"

    def field(self, name: str) -> Field | None:
        """The field of that name."""
        return self._by_name.get(name)

    def plain(self) -> tuple[Any, ...]:
        fields = tuple((f.name, f.type.plain(), f.offset, f.bit, f.bits) for f in self.fields)
        return ("struct", self.name, fields, self.size, self.align)

    def format(self) -> str:
        parts = []
        at = 0
        for field in self.fields:
            if field.bits or field.offset < at:
                raise ValueError(f"{self} has bitfields or overlapping members; decode it field by field")
            if field.offset > at:
                parts.append(f"{field.offset - at}x")
            parts.append(field.type.format())
            at = field.offset + field.type.size
        if self.size > at:
            parts.append(f"{self.size - at}x")
        return "".join(parts)

    def dtype(self) -> Any:
        return {
            "names": [field.name for field in self.fields],
            "formats": [field.type.dtype() for field in self.fields],
            "offsets": [field.offset for field in self.fields],
            "itemsize": self.size,
        }

    def unpack(self, data: bytes | memoryview, offset: int = 0) -> Any:
        values = [self._field_value(field, data, offset) for field in self.fields]
        return tuple(values) if self.factory is None else self.factory(*values)

    def _field_value(self, field: Field, data: bytes | memoryview, offset: int) -> Any:
        if not field.bits:
            return field.type.unpack(data, offset + field.offset)
        start = offset + field.offset
        unit = int.from_bytes(data[start : start + self._unit_size(field)], sys.byteorder)
        value = (unit >> field.bit) & ((1 << field.bits) - 1)
        if isinstance(field.type, Int) and field.type.signed and value >> (field.bits - 1):
            value -= 1 << field.bits
        return value

    def _unit_size(self, field: Field) -> int:
        """Bytes of a bit-field's unit; in packed structs it may end with the struct, before its integer would."""
        return min(field.type.size, self.size - field.offset)

    def pack(self, value: Any) -> bytes:
        values: Sequence[Any]
        if isinstance(value, dict):
            unknown = set(value) - set(self._by_name)
            if unknown:
                raise ValueError(f"{self} has no field {sorted(unknown)[0]!r}")
            values = [value.get(field.name) for field in self.fields]
        elif isinstance(value, (tuple, list)):
            values = value
            if len(values) != len(self.fields):
                raise ValueError(f"{len(values)} values for the {len(self.fields)} fields of {self}")
        else:
            values = [getattr(value, field.name) for field in self.fields]
        data = bytearray(self.size)
        for field, item in zip(self.fields, values, strict=True):
            if item is None:
                continue
            start = field.offset
            if field.bits:
                mask = (1 << field.bits) - 1
                end = start + self._unit_size(field)
                unit = int.from_bytes(data[start:end], sys.byteorder)
                unit |= (int(item) & mask) << field.bit
                data[start:end] = unit.to_bytes(end - start, sys.byteorder)
            else:
                data[start : start + field.type.size] = field.type.pack(item)
        return bytes(data)


U8, U16, U32, U64 = Int(8), Int(16), Int(32), Int(64)
S8, S16, S32, S64 = Int(8, True), Int(16, True), Int(32, True), Int(64, True)
BOOL = Bool()


def from_plain(data: tuple[Any, ...]) -> Layout:
    """The layout that :meth:`Layout.plain` described; raises ``ValueError`` on anything else."""
    kind, *rest = data
    if kind == "int":
        return Int(rest[0], rest[1])
    if kind == "bool":
        return Bool()
    if kind == "char":
        return Char(rest[0])
    if kind == "bytes":
        return Bytes(rest[0])
    if kind == "array":
        return Array(from_plain(rest[0]), rest[1])
    if kind == "enum":
        base = from_plain(rest[1])
        if isinstance(base, Int):
            return Enum(rest[0], base, rest[2])
    if kind == "struct":
        fields = [Field(name, from_plain(type_), offset, bit, bits) for name, type_, offset, bit, bits in rest[1]]
        return Struct(rest[0], fields, rest[2], rest[3])
    raise ValueError(f"no layout: {data!r}")
