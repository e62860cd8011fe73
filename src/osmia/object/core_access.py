"""CO-RE accesses: which type, field or enumerator a relocation means, and where a target has it.

An access string such as ``0:1:2`` is a path through the types of the program; :func:`parse_access` reads it into an
:class:`Access`, with names. :func:`match` finds the same path in one candidate type of the target, by names: members
may have moved, also into anonymous structs and unions, and enumerators may have other values. The rules are those of
libbpf.
"""

from __future__ import annotations

from osmia.btf.ext import RELO_KINDS, RELO_TYPE_ID_LOCAL, RELO_TYPE_MATCHES
from osmia.btf.layout import MAX_DEPTH, resolve, sizeof
from osmia.btf.reader import essential_name
from osmia.btf.types import AnyEnum, Array, Composite, Float, Fwd, Int, Ptr
from osmia.object.core_compat import kinds_agree, types_compatible, types_match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf.reader import Btf
    from osmia.btf.types import BtfType


class AccessError(Exception):
    """A malformed relocation; the text says why."""


class Step:
    """One named member, or one array element (``name`` empty): of which type, and the index."""

    __slots__ = ("index", "name", "type_id")

    def __init__(self, type_id: int, index: int, name: str = "") -> None:
        self.type_id = type_id
        self.index = index
        self.name = name


class Access:
    """A path in the types of one BTF.

    :ivar root: the type it starts from, as declared. :ivar steps: named members and array elements; for an enumerator
        its index. :ivar bit_offset: where it ends. :ivar value: an enumerator's value.
    """

    __slots__ = ("bit_offset", "btf", "root", "steps", "value")

    def __init__(self, btf: Btf, root: int) -> None:
        self.btf = btf
        self.root = root
        self.steps: list[Step] = []
        self.bit_offset = 0
        self.value = 0

    def text(self) -> str:
        """The path as one would write it in C: ``struct task_struct.se.load``."""
        from osmia.btf.layout import label

        path = label(self.btf.by_id(self.root))
        for place, step in enumerate(self.steps):
            if step.name:
                path += f".{step.name}" if not isinstance(resolve(self.btf, self.root), AnyEnum) else f" {step.name}"
            elif place or step.index:
                path += f"[{step.index}]"
        return path


def parse_access(btf: Btf, root: int, access: str, kind: int) -> Access:
    """Read a relocation's path.

    :raises AccessError: it does not fit the types.
    :raises BtfError: the BTF is malformed.
    """
    found = Access(btf, root)
    indices = [int(part) for part in access.split(":")] if access else []
    what = RELO_KINDS[kind][1]
    if not indices or len(indices) > MAX_DEPTH:
        raise AccessError(f"access string {access!r}")
    if kind != RELO_TYPE_ID_LOCAL and not btf.name_of(root):
        raise AccessError(f"type #{root} has no name to look for")
    if what == "type":
        if indices != [0]:
            raise AccessError(f"access string {access!r} for a type")
        return found
    if what == "enum":
        enum = resolve(btf, root)
        if not isinstance(enum, AnyEnum) or len(indices) != 1 or indices[0] >= len(enum.values):
            raise AccessError(f"access string {access!r} for an enumerator")
        value = enum.values[indices[0]]
        found.steps.append(Step(root, indices[0], value.name))
        found.value = value.value
        return found
    _parse_field(found, indices)
    return found


def _parse_field(found: Access, indices: list[int]) -> None:
    btf = found.btf
    at = found.root
    found.steps.append(Step(at, indices[0]))
    if indices[0]:
        found.bit_offset = indices[0] * sizeof(btf, at) * 8
    for index in indices[1:]:
        inner = resolve(btf, at)
        if isinstance(inner, Composite):
            if index >= len(inner.members):
                raise AccessError(f"{inner.kind_name} {inner.name} has no member {index}")
            member = inner.members[index]
            found.bit_offset += member.bit_offset
            if member.name:
                found.steps.append(Step(inner.id, index, member.name))
            at = member.type_id
        elif isinstance(inner, Array):
            if index >= inner.count and not _is_flexible(btf, found.steps[-1], inner):
                raise AccessError(f"an array of {inner.count} has no element {index}")
            at = inner.type_id
            found.steps.append(Step(resolve(btf, at).id, index))
            found.bit_offset += index * sizeof(btf, at) * 8
        else:
            raise AccessError(f"type #{at} is {inner.kind_name}, which has no parts")


def _is_flexible(btf: Btf, step: Step, array: Array) -> bool:
    """Whether an array is the flexible last member that the last step named."""
    if array.count or not step.name:
        return False
    owner = btf.by_id(step.type_id)
    return isinstance(owner, Composite) and step.index == len(owner.members) - 1


def match(local: Access, btf: Btf, candidate: int, kind: int) -> Access | None:
    """The same access in a candidate type of the target, ``None`` where the candidate does not have it.

    :raises BtfError: one of the BTFs is malformed.
    """
    what = RELO_KINDS[kind][1]
    found = Access(btf, candidate)
    if what == "type":
        fits = types_match if kind == RELO_TYPE_MATCHES else types_compatible
        return found if fits(local.btf, local.root, btf, candidate) else None
    if what == "enum":
        enum = resolve(btf, candidate)
        wanted = essential_name(local.steps[0].name)
        for index, value in enumerate(enum.values if isinstance(enum, AnyEnum) else ()):
            if essential_name(value.name) == wanted:
                found.steps.append(Step(candidate, index, value.name))
                found.value = value.value
                ours = resolve(local.btf, local.root)
                # Kernels before 6.0 do not store the sign of enums: -1 is 4294967295 there.
                if getattr(ours, "signed", False) and not getattr(enum, "signed", False) and value.value >> 31 == 1:
                    found.value -= 1 << 32
                return found
        return None
    return found if _match_field(local, found) else None


def _match_field(local: Access, found: Access) -> bool:
    btf = found.btf
    at = found.root
    for place, step in enumerate(local.steps):
        inner = resolve(btf, at)
        if step.name:
            owner = local.btf.by_id(step.type_id)
            if not isinstance(owner, Composite):
                return False
            target = _match_member(local.btf, owner.members[step.index].type_id, step.name, found, inner, 0)
            if target < 0:
                return False
            at = target
            continue
        if place:
            if not isinstance(inner, Array):
                return False
            if step.index >= inner.count and not _is_flexible(btf, found.steps[-1], inner):
                return False
            at = inner.type_id
            inner = resolve(btf, at)
        found.steps.append(Step(inner.id if place else at, step.index))
        if step.index:
            found.bit_offset += step.index * sizeof(btf, at) * 8
    return True


def _match_member(local: Btf, wanted: int, name: str, found: Access, owner: BtfType, depth: int) -> int:
    """Find a member by name, through anonymous ones; returns its type, or -1."""
    if depth > MAX_DEPTH or not isinstance(owner, Composite):
        return -1
    for index, member in enumerate(owner.members):
        if member.name == name:
            if not fields_compatible(local, wanted, found.btf, member.type_id):
                return -1
            found.bit_offset += member.bit_offset
            found.steps.append(Step(owner.id, index, name))
            return member.type_id
        if not member.name:
            start = found.bit_offset
            found.bit_offset += member.bit_offset
            target = _match_member(local, wanted, name, found, resolve(found.btf, member.type_id), depth + 1)
            if target >= 0:
                return target
            found.bit_offset = start
    return -1


def fields_compatible(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Whether a field may stand for another: any two structs or unions, any two integers, enums of one name..."""
    for _ in range(MAX_DEPTH):
        ours, theirs = resolve(local, local_id), resolve(target, target_id)
        if isinstance(ours, Composite) and isinstance(theirs, Composite):
            return True
        if not kinds_agree(ours, theirs):
            return False
        if isinstance(ours, Ptr | Float):
            return True
        if isinstance(ours, Fwd | AnyEnum):
            name, other = essential_name(ours.name), essential_name(theirs.name)
            return not name or not other or name == other
        if isinstance(ours, Int) and isinstance(theirs, Int):
            return not ours.offset and not theirs.offset
        if not isinstance(ours, Array) or not isinstance(theirs, Array):
            return False
        local_id, target_id = ours.type_id, theirs.type_id
    return False
