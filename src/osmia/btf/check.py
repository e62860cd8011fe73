"""What the kernel demands of BTF: of one type alone, and of types among each other.

``problem_of`` is what the writer asks before it takes a type, ``validate`` what a reader of foreign data asks
before it relies on it. The rules are those of ``kernel/bpf/btf.c``, less the ones that only hold for
programs being loaded (extern linkage is fine in an object file).
"""

from __future__ import annotations

import re

from osmia.btf.layout import label, place_of, resolve, sizeof
from osmia.btf.types import (
    LINKAGE_EXTERN,
    AnyEnum,
    Array,
    BtfType,
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
    Modifier,
    Ptr,
    Struct,
    Typedef,
    TypeTag,
    Union,
    Var,
    Void,
)
from osmia.diagnostics import BtfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from osmia.btf.reader import Btf

MAX_ELEMENTS = 0xFFFF
MAX_NAME = 511
_U32 = 1 << 32
_IDENTIFIER = re.compile(r"[A-Za-z_.][A-Za-z0-9_.]*", re.ASCII)
_HINT = "the data is corrupt; read or build it again"


def problem_of(found: BtfType) -> str:
    """Why a type cannot be written, looking at nothing but its own fields; empty when it can."""
    if "\0" in found.name or len(found.name) > MAX_NAME:
        return f"the name is longer than {MAX_NAME} characters or contains NUL"
    checks = _CHECKS.get(type(found))
    return checks(found) if checks else ""


def _identifier(name: str) -> str:
    return "" if _IDENTIFIER.fullmatch(name) else f"{name!r} is no identifier"


def _word(value: int, what: str) -> str:
    return "" if 0 <= value < _U32 else f"{what} {value} does not fit 32 bits"


def _int_problem(found: Int) -> str:
    if not 0 < found.size <= 16:
        return f"an integer of {found.size} bytes"
    if found.bits < 1 or found.offset < 0 or found.bits + found.offset > found.size * 8:
        return f"bits {found.offset} to {found.offset + found.bits} of {found.size} bytes"
    return "" if found.encoding in (0, 1, 2, 4) else f"encoding {found.encoding} is none of 0, signed, char and bool"


def _float_problem(found: Float) -> str:
    return "" if found.size in (2, 4, 8, 12, 16) else f"a floating-point number of {found.size} bytes"


def _composite_problem(found: Composite) -> str:
    problem = _identifier(found.name) if found.name else ""
    problem = problem or _word(found.size, "size")
    if len(found.members) > MAX_ELEMENTS:
        problem = problem or f"{len(found.members)} members, at most {MAX_ELEMENTS} are possible"
    flagged = any(member.bit_size for member in found.members)
    last = 0
    for member in found.members:
        if problem:
            break
        where = f"member {member.name!r}"
        offset, bits = member.bit_offset, member.bit_size
        if member.name and _identifier(member.name):
            problem = f"member name {_identifier(member.name)}"
        elif not 0 <= bits <= 255 or not 0 <= offset < (1 << 24 if flagged else _U32):
            problem = f"{where}: bit offset {offset} with width {bits} cannot be encoded"
        elif offset + bits > found.size * 8 or (not flagged and offset % 8):
            problem = f"{where} at bit {offset} does not fit {found.size} bytes, or is no bit-field and not on a byte"
        elif isinstance(found, Union) and offset:
            problem = f"{where} of a union is at bit {offset}"
        elif isinstance(found, Struct) and offset < last:
            problem = f"{where} at bit {offset} comes after one at bit {last}"
        last = offset
    return problem


def _enum_problem(found: AnyEnum) -> str:
    problem = _identifier(found.name) if found.name else ""
    if found.size not in (1, 2, 4, 8):
        problem = problem or f"an enum of {found.size} bytes"
    if len(found.values) > MAX_ELEMENTS:
        problem = problem or f"{len(found.values)} values, at most {MAX_ELEMENTS} are possible"
    bits = 32 if isinstance(found, Enum) else 64
    low, high = (-(1 << bits - 1), 1 << bits - 1) if found.signed else (0, 1 << bits)
    for value in found.values:
        problem = problem or _identifier(value.name)
        if not low <= value.value < high:
            problem = problem or f"{value.name} = {value.value} does not fit {bits} bits"
    return problem


def _func_problem(found: Func) -> str:
    return _identifier(found.name) or _linkage(found.linkage)


def _linkage(value: int) -> str:
    return "" if 0 <= value <= LINKAGE_EXTERN else f"linkage {value} is none of static, global, extern"


def _proto_problem(found: FuncProto) -> str:
    if len(found.params) > MAX_ELEMENTS:
        return f"{len(found.params)} parameters, at most {MAX_ELEMENTS} are possible"
    for index, param in enumerate(found.params):
        if param.name and _identifier(param.name):
            return f"parameter name {_identifier(param.name)}"
        if not param.type_id and (param.name or index != len(found.params) - 1):
            return f"parameter {index} has type void"
    return ""


def _var_problem(found: Var) -> str:
    if not found.name:
        return "a variable without name"
    return _linkage(found.linkage) or _identifier(found.name)


def _datasec_problem(found: DataSec) -> str:
    if not found.name or not found.name.isprintable():
        return f"section name {found.name!r}"
    if len(found.entries) > MAX_ELEMENTS:
        return f"{len(found.entries)} variables, at most {MAX_ELEMENTS} are possible"
    problem = _word(found.size, "size")
    for entry in found.entries:
        problem = problem or _word(entry.offset, "offset") or _word(entry.size, "size")
    return problem


def _tag_problem(found: TypeTag) -> str:
    return "" if found.name else "a tag without text"


def _decl_tag_problem(found: DeclTag) -> str:
    if not -1 <= found.component <= MAX_ELEMENTS:
        return f"component {found.component}"
    return "" if found.name else "a tag without text"


_CHECKS: dict[type[BtfType], Callable[[Any], str]] = {
    Int: _int_problem,
    Float: _float_problem,
    Array: lambda found: _word(found.count, "element count"),
    Struct: _composite_problem,
    Union: _composite_problem,
    Enum: _enum_problem,
    Enum64: _enum_problem,
    Fwd: lambda found: _identifier(found.name),
    Typedef: lambda found: _identifier(found.name),
    Func: _func_problem,
    FuncProto: _proto_problem,
    Var: _var_problem,
    DataSec: _datasec_problem,
    DeclTag: _decl_tag_problem,
    TypeTag: _tag_problem,
}


def validate(btf: Btf) -> None:
    """Check every own type of a blob: its record, its fields, and the types it mentions.

    :raises BtfError: ``BTF006`` to ``BTF012``, for the first type that is wrong.
    """
    for type_id in range(btf.base_end_id, btf.end_id):
        found = btf.by_id(type_id)
        name = btf.name_of(type_id)
        problem = problem_of(found)
        if not problem and name and not found.name:
            problem = f"its kind has no names, but it is named {name!r}"
        problem = problem or link_problem(btf, found)
        if problem:
            raise BtfError("BTF009", f"{label(found)} (#{type_id}): {problem}", hint=_HINT)
    _refuse_circles(btf, _text_edges)
    _refuse_circles(btf, _value_edges)


def link_problem(btf: Btf, found: BtfType) -> str:
    """Why a type does not fit the types that it mentions; empty when it does."""
    if isinstance(found, Composite):
        for index in range(len(found.members)):
            place_of(btf, found, index)
    elif isinstance(found, Array):
        sizeof(btf, found)
        if not isinstance(resolve(btf, found.index_type_id), Int):
            return f"its index type #{found.index_type_id} is no integer"
    elif isinstance(found, FuncProto):
        for param in found.params:
            if param.type_id:
                sizeof(btf, param.type_id)
        if not isinstance(resolve(btf, found.type_id), Void):
            sizeof(btf, found.type_id)
    elif isinstance(found, Func):
        btf.proto_of(found)
    elif isinstance(found, Var):
        if found.linkage != LINKAGE_EXTERN:
            sizeof(btf, found.type_id)
    elif isinstance(found, DataSec):
        return _section_links(btf, found)
    elif isinstance(found, DeclTag):
        return _tag_links(btf, found)
    return ""


def _section_links(btf: Btf, found: DataSec) -> str:
    for entry in found.entries:
        inner = btf.by_id(entry.type_id)
        if not isinstance(inner, Var | Func):
            return f"it lists #{entry.type_id}, which is no variable"
        if found.size and entry.offset + entry.size > found.size:
            return f"variable {inner.name!r} at {entry.offset} lies outside of its {found.size} bytes"
    return ""


def _tag_links(btf: Btf, found: DeclTag) -> str:
    inner = btf.by_id(found.type_id)
    count = 0
    if isinstance(inner, Composite):
        count = len(inner.members)
    elif isinstance(inner, Func):
        count = len(btf.proto_of(inner).params)
    elif not isinstance(inner, Var | Typedef):
        return f"it tags {label(inner)}, which is no struct, function, variable or typedef"
    return "" if found.component < count else f"component {found.component} of {label(inner)} does not exist"


def _text_edges(found: BtfType) -> tuple[int, ...]:
    """What must be written before a type's text is complete: circles go through named structs only."""
    if isinstance(found, Ptr | Modifier | Array | FuncProto | Func | Var):
        return found.refs()
    return ()


def _value_edges(found: BtfType) -> tuple[int, ...]:
    """What a type contains by value."""
    if isinstance(found, Modifier | Composite):
        return found.refs()
    return (found.type_id,) if isinstance(found, Array) else ()


def _refuse_circles(btf: Btf, edges: Callable[[BtfType], tuple[int, ...]]) -> None:
    """Depth-first search without recursion; own types only, since a base cannot mention them."""
    done: set[int] = set()
    first = btf.base_end_id
    for root in range(first, btf.end_id):
        path: list[tuple[int, tuple[int, ...], int]] = []
        on_path: set[int] = set()
        if root not in done:
            path.append((root, edges(btf.by_id(root)), 0))
            on_path.add(root)
        while path:
            type_id, targets, index = path.pop()
            while index < len(targets) and (targets[index] < first or targets[index] in done):
                index += 1
            if index == len(targets):
                done.add(type_id)
                on_path.discard(type_id)
                continue
            target = targets[index]
            if target in on_path:
                raise BtfError(
                    "BTF010", f"{label(btf.by_id(target))} is defined by itself, through #{type_id}", hint=_HINT
                )
            path.append((type_id, targets, index + 1))
            path.append((target, edges(btf.by_id(target)), 0))
            on_path.add(target)
