"""Between BTF types and data layouts.

A C type and a layout describe the same bytes; a layout made of BTF drops what the bytes do not show: typedefs,
qualifiers, what a pointer points to (it becomes ``u64``), the nesting of anonymous structs and unions (their
members are taken up). A union becomes a struct whose fields overlap. Types without a counterpart (``__int128``,
``float``) become raw bytes.
"""

from __future__ import annotations

import re

from osmia.btf.layout import MAX_DEPTH, alignof, label, place_of, resolve, sizeof
from osmia.btf.types import (
    INT_BOOL,
    INT_SIGNED,
    AnyEnum,
    Composite,
    DataSec,
    Enumerator,
    Float,
    Member,
    Ptr,
    Var,
)
from osmia.btf.types import Array as BtfArray
from osmia.btf.types import Enum as BtfEnum
from osmia.btf.types import Enum64 as BtfEnum64
from osmia.btf.types import Int as BtfInt
from osmia.btf.types import Struct as BtfStruct
from osmia.btf.types import Union as BtfUnion
from osmia.diagnostics.errors import ObjectError
from osmia.object.layout import U64, Array, Bool, Bytes, Char, Enum, Field, Int, Layout, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf.reader import Btf
    from osmia.btf.types import BtfType
    from osmia.btf.writer import BtfBuilder

MAX_FIELDS = 1 << 16
"""Most fields of one layout, all structs together: hostile BTF can describe exponentially many."""
MAX_TOTAL = 1 << 20
"""Most fields of all layouts that one reader makes, each counted as often as it is asked for."""

_BITS = (8, 16, 32, 64)
_RAW_BYTE = "byte"
_C_NAMES = {
    (8, False): "unsigned char", (8, True): "signed char", (16, False): "unsigned short", (16, True): "short",
    (32, False): "unsigned int", (32, True): "int", (64, False): "unsigned long long", (64, True): "long long",
}  # fmt: skip
_NO_NAME = re.compile(r"\W")


def layout_of(btf: Btf, type_id: int) -> Layout:
    """The layout of a BTF type; of a variable, that of its type; of a section, a struct of its variables.

    :raises ObjectError: OBJ020, functions and incomplete types lie nowhere; or the type is too large to describe.
    :raises BtfError: the BTF is malformed.
    """
    return LayoutReader(btf).read(type_id)


class LayoutReader:
    """Makes layouts of one BTF's types, each once, and not more than a program can need."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.total = MAX_TOTAL
        self.budget = MAX_FIELDS
        self.made: dict[int, Layout] = {}
        self.weights: dict[int, int] = {}

    def read(self, type_id: int) -> Layout:
        """The layout of a type; see :func:`layout_of`."""
        self.budget = MAX_FIELDS
        made = self.make(type_id, 0)
        self.total -= self.weight(made)
        if self.total < 0:
            raise ObjectError("OBJ020", f"the types used have more than {MAX_TOTAL} fields together")
        return made

    def make(self, type_id: int, depth: int) -> Layout:
        found = resolve(self.btf, type_id)
        known = self.made.get(found.id) if found.id else None
        if known is None:
            known = self.fresh(found, depth)
            if found.id:
                self.made[found.id] = known
        return known

    def fresh(self, found: BtfType, depth: int) -> Layout:
        if depth > MAX_DEPTH or self.budget < 0:
            raise ObjectError("OBJ020", f"{label(found)} is nested too deep or too large for a layout")
        if isinstance(found, BtfInt):
            return _integer(found)
        if isinstance(found, AnyEnum):
            return self.enum(found)
        if isinstance(found, Ptr):
            return U64 if self.btf.pointer_size == 8 else Int(32)
        if isinstance(found, BtfArray):
            return self.array(found, depth)
        if isinstance(found, Composite):
            return self.composite(found, depth)
        if isinstance(found, Float):
            return Bytes(found.size)
        if isinstance(found, Var):
            return self.make(found.type_id, depth + 1)
        if isinstance(found, DataSec):
            return self.section(found, depth)
        raise ObjectError(
            "OBJ020",
            f"{label(found)} has no layout: it describes no data",
            hint="a declared struct needs its definition" if found.kind_name == "fwd" else None,
        )

    def enum(self, found: AnyEnum) -> Layout:
        self.budget -= len(found.values)
        if found.size not in (1, 2, 4, 8):
            return Bytes(found.size)
        bits = found.size * 8
        # Compilers before LLVM 15 leave the sign flag clear and store -1 as 4294967295.
        members = [(value.name, value.value if found.signed else value.value % (1 << bits)) for value in found.values]
        return Enum(found.name, Int(bits, found.signed), members)

    def array(self, found: BtfArray, depth: int) -> Layout:
        size = sizeof(self.btf, found)
        inner = resolve(self.btf, found.type_id)
        if isinstance(inner, BtfInt) and inner.size == 1 and inner.name in ("char", _RAW_BYTE):
            return Char(size) if inner.name == "char" else Bytes(size)
        return Array(self.make(found.type_id, depth + 1), found.count)

    def composite(self, found: Composite, depth: int) -> Layout:
        fields: list[Field] = []
        self.members(found, found, 0, fields, depth)
        made = Struct(found.name, fields, found.size, max(alignof(self.btf, found), 1))
        # Layouts share what they have in common, but spelled out (``plain``) each use counts.
        weight = 1 + sum([self.weight(field.type) for field in fields])
        if weight > MAX_FIELDS:
            raise ObjectError(
                "OBJ020", f"{label(found)} has more than {MAX_FIELDS} fields, those of its parts included"
            )
        self.weights[id(made)] = weight
        return made

    def weight(self, layout: Layout) -> int:
        """The number of fields in a layout, nested ones included."""
        while isinstance(layout, Array):
            layout = layout.element
        if isinstance(layout, Enum):
            return 1 + len(layout.members)
        return self.weights.get(id(layout), 1)

    def members(self, outer: Composite, found: Composite, shift: int, fields: list[Field], depth: int) -> None:
        """Append the fields of ``found``, which lies ``shift`` bits into ``outer``."""
        for index, member in enumerate(found.members):
            self.budget -= 1
            if depth > MAX_DEPTH or self.budget < 0:
                raise ObjectError("OBJ020", f"{label(outer)} is nested too deep or too large for a layout")
            place = place_of(self.btf, found, index)
            at = shift + place.bit_offset
            inner = None if member.name else resolve(self.btf, member.type_id)
            if isinstance(inner, Composite):
                self.members(outer, inner, at, fields, depth + 1)
            elif place.bitfield:
                if member.name:
                    fields.append(self.bit_field(outer, member, at, place.bit_size))
            elif at % 8:
                raise ObjectError("OBJ020", f"member {member.name!r} of {label(outer)} starts at bit {at % 8}")
            else:
                fields.append(Field(member.name, self.make(member.type_id, depth + 1), at // 8))

    def bit_field(self, outer: Composite, member: Member, at: int, bits: int) -> Field:
        """A bit-field in the narrowest unit, its own type's first, that holds its bits and lies within the struct."""
        inner = resolve(self.btf, member.type_id)
        signed = bool(getattr(inner, "signed", False))
        own = getattr(inner, "size", 0) * 8
        end = outer.size * 8
        # Only in packed structs of odd sizes does a unit reach past the end; its last bytes are then not there.
        for limit in (end, end + 56):
            for width in (own, *_BITS):
                for step in (width, 8):
                    if width not in _BITS or not bits or at + bits > end:
                        continue
                    start = at // step * step
                    if at + bits <= start + width <= limit:
                        return Field(member.name, Int(width, signed), start // 8, at - start, bits)
        raise ObjectError(
            "OBJ020", f"the bit-field {member.name!r} of {label(outer)} ({bits} bits at bit {at}) fits no integer"
        )

    def section(self, found: DataSec, depth: int) -> Layout:
        fields = []
        for entry in found.entries:
            self.budget -= 1
            fields.append(Field(self.btf.name_of(entry.type_id), self.make(entry.type_id, depth + 1), entry.offset))
        return Struct(found.name, fields, found.size, 8)


def _integer(found: BtfInt) -> Layout:
    if found.encoding & INT_BOOL and found.size == 1:
        return Bool()
    if found.size * 8 in _BITS:
        return Int(found.size * 8, found.signed)
    return Bytes(found.size)


def layout_to_btf(builder: BtfBuilder, layout: Layout) -> int:
    """Add a layout's type to a builder; returns its id. :func:`layout_of` gives an equal layout of it.

    Names that C would not allow have their foreign characters replaced by ``_``, since the kernel refuses them.

    :raises ObjectError: OBJ021, a layout that BTF cannot express.
    """
    if isinstance(layout, Int):
        name = _C_NAMES[layout.bits, layout.signed]
        return builder.add(BtfInt(name, layout.size, INT_SIGNED if layout.signed else 0))
    if isinstance(layout, Bool):
        return builder.add(BtfInt("_Bool", 1, INT_BOOL))
    if isinstance(layout, Enum):
        values = [Enumerator(identifier(name), number) for name, number in layout.members]
        kind = BtfEnum64 if layout.size == 8 else BtfEnum
        return builder.add(kind(identifier(layout.name), layout.size, values, layout.base.signed))
    if isinstance(layout, Char):
        return _array(builder, builder.add(BtfInt("char", 1, INT_SIGNED)), layout.size)
    if isinstance(layout, Bytes):
        return _array(builder, builder.add(BtfInt(_RAW_BYTE, 1)), layout.size)
    if isinstance(layout, Array):
        return _array(builder, layout_to_btf(builder, layout.element), layout.count)
    if isinstance(layout, Struct):
        return _struct(builder, layout)
    raise ObjectError("OBJ021", f"{type(layout).__name__} has no BTF type")


def _array(builder: BtfBuilder, element: int, count: int) -> int:
    return builder.add(BtfArray(element, builder.add(BtfInt("__ARRAY_SIZE_TYPE__", 4)), count))


def _struct(builder: BtfBuilder, layout: Struct) -> int:
    members = []
    for field in layout.fields:
        bit_offset = field.offset * 8 + field.bit
        if field.offset < 0 or bit_offset + (field.bits or field.type.size * 8) > layout.size * 8:
            raise ObjectError("OBJ021", f"field {field.name!r} lies outside of {layout} ({layout.size} bytes)")
        members.append(Member(identifier(field.name), layout_to_btf(builder, field.type), bit_offset, field.bits))
    union = len(members) > 1 and not any(member.bit_offset for member in members)
    if not union:
        members.sort(key=lambda member: member.bit_offset)
    kind = BtfUnion if union else BtfStruct
    return builder.add(kind(identifier(layout.name), layout.size, members))


def identifier(name: str) -> str:
    """A name as the kernel accepts it in BTF: letters, digits, underscores, at most 127 of them."""
    clean = _NO_NAME.sub("_", name)[:127]
    if not clean.isascii():
        clean = "".join(char if char.isascii() else "_" for char in clean)
    return f"_{clean}" if clean[:1].isdigit() else clean
