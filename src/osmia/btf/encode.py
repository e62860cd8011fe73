"""One function per kind: from a type object to a type record's words."""

from __future__ import annotations

from osmia.btf.types import (
    AnyEnum,
    Array,
    Composite,
    DataSec,
    DeclTag,
    Enum,
    Enum64,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Reference,
    Struct,
    TypeTag,
    Union,
    Var,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from osmia.btf.types import BtfType

    Strings = Callable[[str], int]

_FLAG = 1 << 31
_U32 = 0xFFFFFFFF


def encode(found: BtfType, string: Strings) -> list[int]:
    """The words of a type's record, each from 0 to 2**32 - 1.

    The type's fields must be in range, see :func:`osmia.btf.check.problem_of`.

    :param string: gives a text's offset in the string section.
    """
    name = string(found.name)
    encoder = _ENCODERS.get(type(found), _reference)
    info, *rest = encoder(found, string)
    return [name, info | found.kind << 24, *rest]


def _reference(found: Reference, string: Strings) -> list[int]:
    return [0, found.type_id]


def _int(found: Int, string: Strings) -> list[int]:
    return [0, found.size, found.encoding << 24 | found.offset << 16 | found.bits]


def _float(found: Float, string: Strings) -> list[int]:
    return [0, found.size]


def _array(found: Array, string: Strings) -> list[int]:
    return [0, 0, found.type_id, found.index_type_id, found.count]


def _composite(found: Composite, string: Strings) -> list[int]:
    flagged = any(member.bit_size for member in found.members)
    words = [len(found.members) | (_FLAG if flagged else 0), found.size]
    for member in found.members:
        words += (string(member.name), member.type_id, member.bit_size << 24 | member.bit_offset)
    return words


def _enum(found: AnyEnum, string: Strings) -> list[int]:
    words = [len(found.values) | (_FLAG if found.signed else 0), found.size]
    wide = isinstance(found, Enum64)
    for value in found.values:
        words += (string(value.name), value.value & _U32)
        if wide:
            words.append(value.value >> 32 & _U32)
    return words


def _fwd(found: Fwd, string: Strings) -> list[int]:
    return [_FLAG if found.is_union else 0, 0]


def _func(found: Func, string: Strings) -> list[int]:
    return [found.linkage, found.type_id]


def _func_proto(found: FuncProto, string: Strings) -> list[int]:
    words = [len(found.params), found.type_id]
    for param in found.params:
        words += (string(param.name), param.type_id)
    return words


def _var(found: Var, string: Strings) -> list[int]:
    return [0, found.type_id, found.linkage]


def _datasec(found: DataSec, string: Strings) -> list[int]:
    words = [len(found.entries), found.size]
    for entry in found.entries:
        words += (entry.type_id, entry.offset, entry.size)
    return words


def _decl_tag(found: DeclTag, string: Strings) -> list[int]:
    return [_FLAG if found.attribute else 0, found.type_id, found.component & _U32]


def _type_tag(found: TypeTag, string: Strings) -> list[int]:
    return [_FLAG if found.attribute else 0, found.type_id]


_ENCODERS: dict[type[BtfType], Callable[[Any, Strings], list[int]]] = {
    Int: _int,
    Float: _float,
    Array: _array,
    Struct: _composite,
    Union: _composite,
    Enum: _enum,
    Enum64: _enum,
    Fwd: _fwd,
    Func: _func,
    FuncProto: _func_proto,
    Var: _var,
    DataSec: _datasec,
    DeclTag: _decl_tag,
    TypeTag: _type_tag,
}
