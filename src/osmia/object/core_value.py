"""CO-RE values: what number a relocation of some kind has, in the program's types or in the target's."""

from __future__ import annotations

import sys

from osmia.btf.ext import (
    RELO_ENUMVAL_EXISTS,
    RELO_ENUMVAL_VALUE,
    RELO_FIELD_BYTE_OFFSET,
    RELO_FIELD_BYTE_SIZE,
    RELO_FIELD_EXISTS,
    RELO_FIELD_LSHIFT_U64,
    RELO_FIELD_RSHIFT_U64,
    RELO_FIELD_SIGNED,
    RELO_TYPE_ID_LOCAL,
    RELO_TYPE_ID_TARGET,
    RELO_TYPE_SIZE,
)
from osmia.btf.layout import resolve, sizeof
from osmia.btf.types import INT_SIGNED, AnyEnum, Array, Composite, Int, Ptr
from osmia.object.core_access import AccessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf.types import BtfType
    from osmia.object.core_access import Access

EXISTS_KINDS = (RELO_FIELD_EXISTS, RELO_ENUMVAL_EXISTS)


class Value:
    """One side of a relocation.

    :ivar number: the value, ``None`` where the target has no such field or enumerator. :ivar size: bytes that a load or
        store of the field has, 0 where the relocation says nothing about it. :ivar type: the field's type below
        typedefs.
    :ivar exact: the compiler's own number must be the same; it chooses differently for bit-fields and knows no final
        ids.
    """

    __slots__ = ("exact", "number", "size", "type")

    def __init__(self, number: int | None, exact: bool = True, size: int = 0, type: BtfType | None = None) -> None:
        self.number = number
        self.exact = exact
        self.size = size
        self.type = type


def value_of(access: Access | None, kind: int) -> Value:
    """The value of an access; ``None`` stands for an access that the target does not have.

    :raises AccessError: a kind that makes no sense for this access.
    """
    if kind in EXISTS_KINDS:
        return Value(int(access is not None))
    if kind <= RELO_FIELD_RSHIFT_U64:
        return Value(None) if access is None else _field_value(access, kind)
    if kind == RELO_ENUMVAL_VALUE:
        # A value past 31 bits may have been extended either way by the compiler.
        return Value(None) if access is None else Value(access.value, exact=not access.value >> 31 & 1)
    # A type that is missing has id 0, size 0, and neither exists nor matches.
    if access is None:
        return Value(0)
    if kind in (RELO_TYPE_ID_LOCAL, RELO_TYPE_ID_TARGET):
        return Value(access.root, exact=False)
    if kind == RELO_TYPE_SIZE:
        return Value(sizeof(access.btf, access.root))
    return Value(1)


def _field_value(access: Access, kind: int) -> Value:
    btf = access.btf
    step = access.steps[-1]
    if not step.name:
        size = sizeof(btf, step.type_id)
        if kind == RELO_FIELD_BYTE_OFFSET:
            return Value(access.bit_offset // 8, True, *_memory(access, step.type_id, size))
        if kind == RELO_FIELD_BYTE_SIZE:
            return Value(size)
        raise AccessError("an array element is no bit-field and has no sign of its own")
    owner = btf.by_id(step.type_id)
    if not isinstance(owner, Composite):
        raise AccessError(f"type #{step.type_id} has no members")
    member = owner.members[step.index]
    inner = resolve(btf, member.type_id)
    bits, offset = member.bit_size, access.bit_offset
    if bits:
        size, start = _unit(getattr(inner, "size", 0), bits, offset)
    else:
        size, start = sizeof(btf, inner), offset // 8
    if kind == RELO_FIELD_BYTE_OFFSET:
        if bits:
            return Value(start, exact=False)
        return Value(start, True, *_memory(access, member.type_id, size))
    if kind == RELO_FIELD_BYTE_SIZE:
        return Value(size, exact=not bits)
    if kind == RELO_FIELD_SIGNED:
        # Compilers before LLVM 15 do not store the sign of enums.
        signed = inner.signed if isinstance(inner, Int | AnyEnum) else False
        return Value(int(signed), exact=isinstance(inner, Int))
    width = bits or size * 8
    if kind == RELO_FIELD_LSHIFT_U64:
        # A unit of n bytes is loaded into the low bits of a register.
        little = 64 - (offset + width - start * 8)
        big = (8 - size) * 8 + (offset - start * 8)
        number, exact = little if sys.byteorder == "little" else big, not bits
    else:
        number, exact = 64 - width, True
    if number < 0:
        raise AccessError(f"a field of {size} bytes cannot be shifted in 64 bits")
    return Value(number, exact)


def _unit(size: int, bits: int, offset: int) -> tuple[int, int]:
    """Size and byte offset of the smallest aligned integer, of the declared size or larger, that holds a bit-field."""
    if size not in (1, 2, 4, 8):
        raise AccessError(f"a bit-field of a type of {size} bytes")
    start = offset // 8 // size * size
    while offset + bits - start * 8 > size * 8:
        if size >= 8:
            raise AccessError(f"a bit-field of {bits} bits at bit {offset} fits no 64-bit load")
        size *= 2
        start = offset // 8 // size * size
    return size, start


def _memory(access: Access, type_id: int, size: int) -> tuple[int, BtfType]:
    """Size and type of what a load at the field reads: of an array, its first element."""
    inner = resolve(access.btf, type_id)
    while isinstance(inner, Array):
        inner = resolve(access.btf, inner.type_id)
        size = sizeof(access.btf, inner)
    return size, inner


def may_resize(ours: Value, theirs: Value) -> bool:
    """Whether a load may change its size to the target's: of pointers, and of unsigned integers, which zero-extend."""
    both = (ours.type, theirs.type)
    if all(isinstance(found, Ptr) for found in both):
        return True
    return all(isinstance(found, Int) and found.encoding != INT_SIGNED for found in both)
