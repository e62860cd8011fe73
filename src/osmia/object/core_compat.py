"""When a type of the target is the one that the program means: compatible (``bpf_core_type_exists``), or matching
(``bpf_core_type_matches``). The rules are those of libbpf.
"""

from __future__ import annotations

from osmia.btf.layout import resolve
from osmia.btf.reader import essential_name
from osmia.btf.types import (
    KIND_ENUM,
    KIND_ENUM64,
    KIND_STRUCT,
    KIND_UNION,
    AnyEnum,
    Array,
    Composite,
    FuncProto,
    Fwd,
    Int,
    Ptr,
    Void,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf.reader import Btf
    from osmia.btf.types import BtfType

MAX_LEVEL = 32
_ENUMS = (KIND_ENUM, KIND_ENUM64)
_BUDGET = 1 << 16


def kinds_agree(ours: BtfType, theirs: BtfType) -> bool:
    """Whether two kinds count as one: equal, or both enums."""
    return ours.kind == theirs.kind or (ours.kind in _ENUMS and theirs.kind in _ENUMS)


def types_compatible(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Whether two types of one name are of compatible kinds, pointers and prototypes all the way down.

    Structs, unions and enums are only compared by kind, integers not by size.
    """
    if not kinds_agree(local.by_id(local_id), target.by_id(target_id)):
        return False
    return _compatible(local, local_id, target, target_id, MAX_LEVEL, [_BUDGET])


def _compatible(local: Btf, local_id: int, target: Btf, target_id: int, level: int, budget: list[int]) -> bool:
    for _ in range(MAX_LEVEL):
        budget[0] -= 1
        if level <= 0 or budget[0] < 0:
            return False
        ours, theirs = resolve(local, local_id), resolve(target, target_id)
        if not kinds_agree(ours, theirs):
            return False
        if isinstance(ours, Void | Composite | AnyEnum | Fwd):
            return True
        if isinstance(ours, Int) and isinstance(theirs, Int):
            return not ours.offset and not theirs.offset
        if isinstance(ours, FuncProto) and isinstance(theirs, FuncProto):
            if len(ours.params) != len(theirs.params):
                return False
            for param, other in zip(ours.params, theirs.params, strict=True):
                if not _compatible(local, param.type_id, target, other.type_id, level - 1, budget):
                    return False
        elif not isinstance(ours, Ptr | Array):
            return False
        local_id, target_id = _next(ours), _next(theirs)
    return False


def _next(found: BtfType) -> int:
    """The type that a pointer, array or prototype goes on to."""
    return found.type_id if isinstance(found, Ptr | Array | FuncProto) else 0


def types_match(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Whether the target's type has everything that the program's has, of the same types.

    Members and enumerators may stand elsewhere, and there may be more of them; behind pointers structs are compared by
    name.
    """
    return _matches(local, local_id, target, target_id, False, MAX_LEVEL, [_BUDGET])


def _same_name(ours: str, theirs: str) -> bool:
    return essential_name(ours) == essential_name(theirs)


def _matches(
    local: Btf, local_id: int, target: Btf, target_id: int, behind: bool, level: int, budget: list[int]
) -> bool:
    for _ in range(MAX_LEVEL):
        budget[0] -= 1
        if level <= 0 or budget[0] < 0:
            return False
        ours, theirs = resolve(local, local_id), resolve(target, target_id)
        if not _same_name("" if isinstance(ours, Void) else ours.name, "" if isinstance(theirs, Void) else theirs.name):
            return False
        if isinstance(ours, Fwd):
            return _forward_matches(ours, theirs, behind)
        if isinstance(ours, AnyEnum):
            return isinstance(theirs, AnyEnum) and _enums_match(ours, theirs)
        if isinstance(ours, Composite):
            if behind:
                if isinstance(theirs, Fwd):
                    return theirs.is_union == (ours.kind == KIND_UNION)
                return ours.kind == theirs.kind
            return (
                isinstance(theirs, Composite)
                and ours.kind == theirs.kind
                and _members_match(local, ours, target, theirs, level, budget)
            )
        if ours.kind != theirs.kind:
            return False
        if isinstance(ours, Void):
            return True
        if isinstance(ours, Int) and isinstance(theirs, Int):
            return ours.size == theirs.size and ours.signed == theirs.signed
        if isinstance(ours, Array) and isinstance(theirs, Array) and ours.count != theirs.count:
            return False
        if isinstance(ours, FuncProto) and isinstance(theirs, FuncProto):
            if len(ours.params) != len(theirs.params):
                return False
            for param, other in zip(ours.params, theirs.params, strict=True):
                if not _matches(local, param.type_id, target, other.type_id, behind, level - 1, budget):
                    return False
        elif not isinstance(ours, Ptr | Array):
            return False
        behind = behind or isinstance(ours, Ptr)
        local_id, target_id = _next(ours), _next(theirs)
    return False


def _forward_matches(ours: Fwd, theirs: BtfType, behind: bool) -> bool:
    if isinstance(theirs, Fwd):
        return ours.is_union == theirs.is_union
    return behind and theirs.kind == (KIND_UNION if ours.is_union else KIND_STRUCT)


def _enums_match(ours: AnyEnum, theirs: AnyEnum) -> bool:
    if ours.size != theirs.size or len(ours.values) > len(theirs.values):
        return False
    names = {essential_name(value.name) for value in theirs.values}
    return all(essential_name(value.name) in names for value in ours.values)


def _members_match(local: Btf, ours: Composite, target: Btf, theirs: Composite, level: int, budget: list[int]) -> bool:
    if len(ours.members) > len(theirs.members):
        return False
    for member in ours.members:
        if not any(
            _same_name(member.name, other.name)
            and _matches(local, member.type_id, target, other.type_id, False, level - 1, budget)
            for other in theirs.members
        ):
            return False
    return True
