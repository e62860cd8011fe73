"""One function per kind: from a type record's words to a type object."""

from __future__ import annotations

from osmia.btf.types import (
    KIND_ARRAY,
    KIND_CONST,
    KIND_DATASEC,
    KIND_DECL_TAG,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FLOAT,
    KIND_FUNC,
    KIND_FUNC_PROTO,
    KIND_FWD,
    KIND_INT,
    KIND_NAMES,
    KIND_PTR,
    KIND_RESTRICT,
    KIND_STRUCT,
    KIND_TYPE_TAG,
    KIND_TYPEDEF,
    KIND_UNION,
    KIND_VAR,
    KIND_VOLATILE,
    LINKAGE_EXTERN,
    Array,
    Const,
    DataSec,
    DeclTag,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Param,
    Ptr,
    Restrict,
    SecEntry,
    Struct,
    Typedef,
    TypeTag,
    Union,
    Var,
    Volatile,
)
from osmia.diagnostics import BtfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from osmia.btf.reader import Btf
    from osmia.btf.types import BtfType, Composite

    Decoder = Callable[[Btf, memoryview, int], BtfType]

_HINT = "the data is corrupt; read or build it again"


def decode(btf: Btf, words: memoryview, at: int) -> BtfType:
    """The type whose record starts at word ``at``.

    :raises BtfError: ``BTF006`` or ``BTF007`` a bad string, ``BTF008`` a type id that does not exist,
        ``BTF009`` a field with an impossible value.
    """
    return _DECODERS[words[at + 1] >> 24 & 0x1F](btf, words, at)


def _bad(cause: str) -> BtfError:
    return BtfError("BTF009", cause, hint=_HINT)


def _ref(btf: Btf, type_id: int) -> int:
    if type_id >= btf.end_id:
        raise BtfError("BTF008", f"type id {type_id} does not exist, ids end at {btf.end_id - 1}", hint=_HINT)
    return type_id


def _linkage(value: int) -> int:
    if value > LINKAGE_EXTERN:
        raise _bad(f"linkage {value} is none of 0 (static), 1 (global), 2 (extern)")
    return value


def _int(btf: Btf, words: memoryview, at: int) -> BtfType:
    size, data = words[at + 2], words[at + 3]
    bits, offset, encoding = data & 0xFF, data >> 16 & 0xFF, data >> 24 & 0xF
    if not 0 < size <= 16 or data & 0xF000FF00:
        raise _bad(f"an integer of {size} bytes with data word {data:#010x}")
    if bits + offset > size * 8 or not bits:
        raise _bad(f"an integer of {size} bytes holds bits {offset} to {offset + bits}")
    return Int(btf.string(words[at]), size, encoding, bits, offset)


def _float(btf: Btf, words: memoryview, at: int) -> BtfType:
    size = words[at + 2]
    if size not in (2, 4, 8, 12, 16):
        raise _bad(f"a floating-point number of {size} bytes")
    return Float(btf.string(words[at]), size)


def _reference(cls: Callable[[int], BtfType]) -> Decoder:
    def _decode(btf: Btf, words: memoryview, at: int) -> BtfType:
        return cls(_ref(btf, words[at + 2]))

    return _decode


def _typedef(btf: Btf, words: memoryview, at: int) -> BtfType:
    return Typedef(btf.string(words[at]), _ref(btf, words[at + 2]))


def _type_tag(btf: Btf, words: memoryview, at: int) -> BtfType:
    return TypeTag(btf.string(words[at]), _ref(btf, words[at + 2]), bool(words[at + 1] >> 31))


def _decl_tag(btf: Btf, words: memoryview, at: int) -> BtfType:
    component = words[at + 3]
    if component == 0xFFFFFFFF:
        component = -1
    elif component > 0xFFFF:
        raise _bad(f"a declaration tag on component {component}")
    return DeclTag(btf.string(words[at]), _ref(btf, words[at + 2]), component, bool(words[at + 1] >> 31))


def _array(btf: Btf, words: memoryview, at: int) -> BtfType:
    return Array(_ref(btf, words[at + 3]), _ref(btf, words[at + 4]), words[at + 5])


def _composite(cls: type[Composite]) -> Decoder:
    def _decode(btf: Btf, words: memoryview, at: int) -> BtfType:
        name, info, size = words[at], words[at + 1], words[at + 2]
        raw = words[at + 3 : at + 3 + 3 * (info & 0xFFFF)].tolist()
        flagged = info >> 31
        string = btf.string
        end_id = btf.end_id
        end_bit = size * 8
        members = []
        for name_offset, type_id, place in zip(raw[::3], raw[1::3], raw[2::3], strict=True):
            bits = place >> 24 if flagged else 0
            offset = place & 0xFFFFFF if flagged else place
            if type_id >= end_id:
                _ref(btf, type_id)
            if offset + bits > end_bit:
                raise _bad(f"member {string(name_offset)!r} at bit {offset} lies outside of the type's {size} bytes")
            members.append(Member(string(name_offset), type_id, offset, bits))
        return cls(string(name), size, members)

    return _decode


def _enum(btf: Btf, words: memoryview, at: int) -> BtfType:
    info, size = words[at + 1], words[at + 2]
    signed = bool(info >> 31)
    raw = words[at + 3 : at + 3 + 2 * (info & 0xFFFF)]
    values = raw.cast("B").cast("i").tolist()[1::2] if signed else raw.tolist()[1::2]
    return Enum(
        btf.string(words[at]),
        _enum_size(size),
        [Enumerator(btf.string(name), value) for name, value in zip(raw.tolist()[::2], values, strict=True)],
        signed,
    )


def _enum64(btf: Btf, words: memoryview, at: int) -> BtfType:
    info, size = words[at + 1], words[at + 2]
    signed = bool(info >> 31)
    raw = words[at + 3 : at + 3 + 3 * (info & 0xFFFF)].tolist()
    values = []
    for name, low, high in zip(raw[::3], raw[1::3], raw[2::3], strict=True):
        value = high << 32 | low
        if signed and high >> 31:
            value -= 1 << 64
        values.append(Enumerator(btf.string(name), value))
    return Enum64(btf.string(words[at]), _enum_size(size), values, signed)


def _enum_size(size: int) -> int:
    if size not in (1, 2, 4, 8):
        raise _bad(f"an enum of {size} bytes")
    return size


def _fwd(btf: Btf, words: memoryview, at: int) -> BtfType:
    return Fwd(btf.string(words[at]), bool(words[at + 1] >> 31))


def _func(btf: Btf, words: memoryview, at: int) -> BtfType:
    return Func(btf.string(words[at]), _ref(btf, words[at + 2]), words[at + 1] & 0xFFFF)


def _func_proto(btf: Btf, words: memoryview, at: int) -> BtfType:
    raw = words[at + 3 : at + 3 + 2 * (words[at + 1] & 0xFFFF)].tolist()
    result = _ref(btf, words[at + 2])
    return FuncProto(
        result,
        [Param(btf.string(name), _ref(btf, type_id)) for name, type_id in zip(raw[::2], raw[1::2], strict=True)],
    )


def _var(btf: Btf, words: memoryview, at: int) -> BtfType:
    return Var(btf.string(words[at]), _ref(btf, words[at + 2]), _linkage(words[at + 3]))


def _datasec(btf: Btf, words: memoryview, at: int) -> BtfType:
    raw = words[at + 3 : at + 3 + 3 * (words[at + 1] & 0xFFFF)].tolist()
    entries = [
        SecEntry(_ref(btf, type_id), offset, size)
        for type_id, offset, size in zip(raw[::3], raw[1::3], raw[2::3], strict=True)
    ]
    return DataSec(btf.string(words[at]), words[at + 2], entries)


_BY_KIND: dict[int, Decoder] = {
    KIND_INT: _int,
    KIND_PTR: _reference(Ptr),
    KIND_ARRAY: _array,
    KIND_STRUCT: _composite(Struct),
    KIND_UNION: _composite(Union),
    KIND_ENUM: _enum,
    KIND_FWD: _fwd,
    KIND_TYPEDEF: _typedef,
    KIND_VOLATILE: _reference(Volatile),
    KIND_CONST: _reference(Const),
    KIND_RESTRICT: _reference(Restrict),
    KIND_FUNC: _func,
    KIND_FUNC_PROTO: _func_proto,
    KIND_VAR: _var,
    KIND_DATASEC: _datasec,
    KIND_FLOAT: _float,
    KIND_DECL_TAG: _decl_tag,
    KIND_TYPE_TAG: _type_tag,
    KIND_ENUM64: _enum64,
}
_DECODERS = [_BY_KIND.get(kind, _int) for kind in range(len(KIND_NAMES))]
