"""Sizes, alignment and the places of members, computed from BTF."""

from __future__ import annotations

import re

from osmia.btf.types import (
    AnyEnum,
    Array,
    BtfType,
    Composite,
    DataSec,
    Float,
    Int,
    Modifier,
    Ptr,
    Record,
    Var,
)
from osmia.diagnostics import BtfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from osmia.btf.reader import Btf
    from osmia.btf.types import Member

#: Steps through modifiers, arrays or anonymous members; no compiler comes near, the kernel allows 32.
MAX_DEPTH = 128
MAX_SIZE = 0xFFFFFFFF

_STEP = re.compile(r"\.?([A-Za-z_$][\w$]*)|\[(\d{1,10})\]")
_HINT_CORRUPT = "the data is corrupt; read or build it again"


class MemberPlace(Record):
    """Where a member lies within a struct.

    :ivar type_id: the type as declared, with its typedefs and qualifiers.
    :ivar bit_offset: from the start of the outermost struct.
    :ivar bit_size: the width; of a bit-field in bits, else 8 times the type's size (0 for a flexible array).
    :ivar bitfield: whether the member is a bit-field.
    :ivar access: the CO-RE access indices below the root type: member and element numbers, anonymous
        members included.
    """

    __slots__ = FIELDS = ("type_id", "bit_offset", "bit_size", "bitfield", "access")

    def __init__(self, type_id: int, bit_offset: int, bit_size: int, bitfield: bool, access: tuple[int, ...]) -> None:
        self.type_id = type_id
        self.bit_offset = bit_offset
        self.bit_size = bit_size
        self.bitfield = bitfield
        self.access = access

    @property
    def offset(self) -> int:
        """The offset of the first byte that holds some of the member."""
        return self.bit_offset // 8

    @property
    def size(self) -> int:
        """How many bytes hold the member's bits."""
        return (self.bit_offset % 8 + self.bit_size + 7) // 8


class FlatMember(Record):
    """A member by name, anonymous structs and unions around it dissolved; see :class:`MemberPlace`."""

    __slots__ = FIELDS = ("name", "place")

    def __init__(self, name: str, place: MemberPlace) -> None:
        self.name = name
        self.place = place


def type_of(btf: Btf, of: BtfType | int) -> BtfType:
    """The type itself, where an id may be given."""
    return btf.by_id(of) if isinstance(of, int) else of


def label(found: BtfType) -> str:
    """A type in a message: ``struct sk_buff``, ``ptr #12``."""
    if not found.kind:
        return "void"
    return f"{found.kind_name} {found.name}" if found.name else f"{found.kind_name} #{found.id}"


def resolve(btf: Btf, of: BtfType | int) -> BtfType:
    """The type below all typedefs, qualifiers and type tags.

    :raises BtfError: ``BTF010`` they form a circle, ``BTF011`` there are more than 128.
    """
    found = type_of(btf, of)
    first = found
    for _ in range(MAX_DEPTH):
        if not isinstance(found, Modifier):
            return found
        found = btf.by_id(found.type_id)
    seen: set[int] = set()
    while isinstance(found, Modifier):
        if found.id in seen:
            raise BtfError("BTF010", f"{label(first)} is defined by itself, through #{found.id}", hint=_HINT_CORRUPT)
        seen.add(found.id)
        found = btf.by_id(found.type_id)
    raise _too_deep(first)


def _too_deep(first: BtfType) -> BtfError:
    return BtfError("BTF011", f"{label(first)} is nested more than {MAX_DEPTH} types deep", hint=_HINT_CORRUPT)


def sizeof(btf: Btf, of: BtfType | int) -> int:
    """The size of a type in bytes; of a variable, that of its type.

    :raises BtfError: ``BTF021`` the type has no size, ``BTF012`` it is 4 GiB or larger, ``BTF010`` or
        ``BTF011`` it is no finite type.
    """
    first = found = resolve(btf, of)
    count = 1
    for _ in range(MAX_DEPTH):
        if isinstance(found, Array):
            count *= found.count
        elif not isinstance(found, Var):
            break
        found = resolve(btf, found.type_id)
    else:
        raise _too_deep(first)
    if isinstance(found, Int | Float | Composite | AnyEnum | DataSec):
        size = count * found.size
    elif isinstance(found, Ptr):
        size = count * btf.pointer_size
    else:
        detail = "is only declared" if found.kind_name == "fwd" else "has no size"
        raise BtfError(
            "BTF021",
            f"{label(found)} {detail}",
            hint="use a pointer to it, or BTF that holds its definition",
        )
    if size > MAX_SIZE:
        raise BtfError("BTF012", f"{label(first)} would take {size} bytes", hint=_HINT_CORRUPT)
    return size


def alignof(btf: Btf, of: BtfType | int, known: dict[int, int] | None = None) -> int:
    """The alignment of a type in bytes; 1 for packed structs.

    BTF does not record alignment: this is the largest that its members' offsets and its size allow.

    :param known: alignments by id, kept between calls for the same ``btf``.
    :raises BtfError: as :func:`sizeof`.
    """
    return _alignof(btf, type_of(btf, of), {} if known is None else known, 0)


def _alignof(btf: Btf, of: BtfType, known: dict[int, int], depth: int) -> int:
    first = found = resolve(btf, of)
    for _ in range(MAX_DEPTH):
        if not isinstance(found, Array | Var):
            break
        found = resolve(btf, found.type_id)
    else:
        raise _too_deep(first)
    if not isinstance(found, Composite):
        size = sizeof(btf, found)
        return min(size & -size, btf.pointer_size) if isinstance(found, Int | Float | AnyEnum) else size
    if found.id in known:
        return known[found.id]
    if depth > MAX_DEPTH:
        raise _too_deep(found)
    largest = 1
    packed = False
    for member in found.members:
        align = _alignof(btf, btf.by_id(member.type_id), known, depth + 1)
        largest = max(largest, align)
        packed |= not member.bit_size and member.bit_offset % (8 * align) != 0
    result = 1 if packed or found.size % largest else largest
    if found.id:
        known[found.id] = result
    return result


def place_of(btf: Btf, owner: Composite, index: int) -> MemberPlace:
    """Where one direct member lies in its struct, bit-fields of both encodings included.

    :raises BtfError: ``BTF009`` the member reaches past its struct's end; else as :func:`sizeof`.
    """
    member = owner.members[index]
    bit_offset, bits = member.bit_offset, member.bit_size
    inner = resolve(btf, member.type_id)
    bitfield = bits != 0
    if isinstance(inner, Int) and not bits and (inner.bits != inner.size * 8 or inner.offset):
        bitfield = True
        bit_offset += inner.offset
        bits = inner.bits
    if not bitfield:
        bits = sizeof(btf, inner) * 8
    if bit_offset + bits > owner.size * 8:
        raise BtfError(
            "BTF009",
            f"member {member.name!r} of {label(owner)} spans bits {bit_offset} to {bit_offset + bits}, "
            f"the type has {owner.size * 8}",
            hint=_HINT_CORRUPT,
        )
    return MemberPlace(member.type_id, bit_offset, bits, bitfield, (index,))


def _below(outer: MemberPlace, inner: MemberPlace) -> MemberPlace:
    return MemberPlace(
        inner.type_id,
        outer.bit_offset + inner.bit_offset,
        inner.bit_size,
        inner.bitfield,
        outer.access + inner.access,
    )


def _anonymous(btf: Btf, member: Member) -> Composite | None:
    if member.name:
        return None
    inner = resolve(btf, member.type_id)
    return inner if isinstance(inner, Composite) else None


def flat_members(btf: Btf, of: BtfType | int) -> Iterator[FlatMember]:
    """All named members in order of declaration, those of anonymous structs and unions included.

    :raises BtfError: ``BTF022`` the type is no struct or union, ``BTF011`` it is nested too deep.
    """
    owner = _composite(btf, of)
    budget = 65536
    pending: list[tuple[MemberPlace, Composite, int]] = [(MemberPlace(owner.id, 0, 0, False, ()), owner, 0)]
    while pending:
        outer, around, index = pending.pop()
        if index >= len(around.members):
            continue
        budget -= 1
        if len(pending) > MAX_DEPTH:
            raise _too_deep(owner)
        if not budget:
            raise BtfError("BTF011", f"{label(owner)} has too many members", hint=_HINT_CORRUPT)
        pending.append((outer, around, index + 1))
        member = around.members[index]
        place = _below(outer, place_of(btf, around, index))
        inner = _anonymous(btf, member)
        if inner is not None:
            pending.append((place, inner, 0))
        elif member.name:
            yield FlatMember(member.name, place)


def find_member(btf: Btf, of: BtfType | int, path: str) -> MemberPlace:
    """Where the member lies that a C expression such as ``cred.groups[2].gid`` names.

    Anonymous structs and unions are looked through. The path may start with an index if the type is an
    array. A flexible array has no last index.

    :raises BtfError: ``BTF023`` no such member, ``BTF024`` the path is malformed, ``BTF025`` an index on
        what is no array or past its end, ``BTF022`` a member of what is no struct.
    """
    found = type_of(btf, of)
    place = MemberPlace(found.id, 0, 0, False, ())
    at = 0
    while at < len(path) or not at:
        step = _STEP.match(path, at)
        if step is None or (path[at] == "." and not at):
            raise BtfError(
                "BTF024",
                f"{path!r} is no member path, from character {at + 1} on",
                hint="write names, dots and constant indices: a.b[2].c; following a pointer is a read of its own",
            )
        if at and step[1] and path[at] != ".":
            raise BtfError("BTF024", f"{path!r} lacks a dot at character {at + 1}", hint="write a.b[2].c")
        name, index = step[1], step[2]
        inner = resolve(btf, found)
        if name is not None:
            place = _below(place, _find_named(btf, inner, name, path))
        else:
            place = _below(place, _element(btf, inner, int(index), path))
        found = btf.by_id(place.type_id)
        at = step.end()
    return place


def _element(btf: Btf, inner: BtfType, index: int, path: str) -> MemberPlace:
    if not isinstance(inner, Array):
        raise BtfError("BTF025", f"{path!r}: {label(inner)} is no array", hint="only arrays take an index")
    if index >= inner.count and inner.count:
        raise BtfError(
            "BTF025",
            f"{path!r}: index {index} is past the array's {inner.count} elements",
            hint=f"the last index is {inner.count - 1}",
        )
    bits = sizeof(btf, inner.type_id) * 8
    if index * bits > MAX_SIZE * 8:
        raise BtfError("BTF025", f"{path!r}: index {index} is 4 GiB or more away", hint="use a smaller index")
    return MemberPlace(inner.type_id, index * bits, bits, False, (index,))


def _composite(btf: Btf, of: BtfType | int) -> Composite:
    found = resolve(btf, of)
    if isinstance(found, Composite):
        return found
    hint = "only structs and unions have members"
    if isinstance(found, Ptr):
        hint = "a pointer needs a read of its own before its members"
    elif isinstance(found, Array):
        hint = "write an index first: a[0].b"
    elif found.kind_name == "fwd":
        hint = "it is only declared here; the BTF of another module or kernel may hold its definition"
    raise BtfError("BTF022", f"{label(found)} is no struct or union and has no members", hint=hint)


def _find_named(btf: Btf, inner: BtfType, name: str, path: str) -> MemberPlace:
    owner = _composite(btf, inner)
    found = _search(btf, owner, name, set(), 0)
    if found is not None:
        return found
    from osmia.btf.nearest import nearest

    try:
        names = [member.name for member in flat_members(btf, owner)]
    except BtfError:  # the rest of the struct is broken; say that the member is missing all the same
        names = []
    near = nearest(name, [text.encode() for text in names], 3)
    listed = ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")
    hint = f"did you mean {', '.join(near)}?" if near else f"its members: {listed}" if names else "it has no members"
    raise BtfError(
        "BTF023",
        f"{label(owner)} has no member named {name!r}",
        hint=hint,
        notes=[(f"members of {label(owner)}: {listed}", None)] if near else (),
    )


def _search(btf: Btf, owner: Composite, name: str, missed: set[int], depth: int) -> MemberPlace | None:
    """Find a member by name; ``missed`` holds ids of anonymous types already searched in vain."""
    if depth > MAX_DEPTH:
        raise _too_deep(owner)
    for index, member in enumerate(owner.members):
        if member.name == name:
            return place_of(btf, owner, index)
        inner = _anonymous(btf, member)
        if inner is not None and inner.id not in missed:
            found = _search(btf, inner, name, missed, depth + 1)
            if found is not None:
                return _below(place_of(btf, owner, index), found)
            missed.add(inner.id)
    return None
