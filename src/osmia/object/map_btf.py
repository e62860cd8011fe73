"""Map definitions as BTF: the struct types by which the ``.maps`` section says what its maps are."""

from __future__ import annotations

from osmia.abi import map_types
from osmia.btf.types import (
    INT_SIGNED,
    LINKAGE_GLOBAL,
    Array,
    Enum64,
    Enumerator,
    FuncProto,
    Int,
    Member,
    Param,
    Ptr,
    Struct,
    Var,
)
from osmia.diagnostics.errors import ObjectError
from osmia.object.btf_layout import layout_to_btf
from osmia.object.elf_maps import PIN_ROOT, map_definition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf.reader import Btf
    from osmia.btf.writer import BtfBuilder
    from osmia.object.spec import MapSpec

POINTER = 8
MAX_STATIC = 1 << 20
"""Most static values of a map: each takes eight bytes of the object, up to the last one."""


def static_values(made: MapSpec) -> list[tuple[int, str]]:
    """The static values that an object can express: names of programs or maps, by index.

    :raises ObjectError: OBJ023, an index that no object could hold.
    """
    found = sorted((int.from_bytes(key, "little"), value) for key, value in made.contents if isinstance(value, str))
    if found and (found[-1][0] >= MAX_STATIC or any(len(key) != 4 for key, _ in made.contents)):
        raise ObjectError(
            "OBJ023",
            f"map {made.name!r} has a static value at {found[-1][0]}",
            hint=f"static values have 4-byte keys below {MAX_STATIC}",
        )
    return found


def define_map(builder: BtfBuilder, btf: Btf | None, made: MapSpec, old: Var | None) -> tuple[int, int, int]:
    """The variable that defines a map: its type id, its size, and the offset of its static values (-1 for none).

    A definition that the BTF has already is kept when it says the same.

    :param old: the variable of that name in ``btf``.
    :raises ObjectError: OBJ023, the spec makes no sense.
    """
    if old is not None and btf is not None:
        try:
            known, values = map_definition(btf, old.type_id, made.name)
        except ObjectError:
            known, values = None, -1
        if known is not None and _facts(known) == _facts(made):
            return old.id, btf.sizeof(old) + _room(btf, old, made, values), values
    struct = _definition(builder, made)
    type_id = builder.add(struct)
    entries = static_values(made)
    # The array of values has no size of its own, which libbpf insists on: the variable is larger than its type.
    values = struct.size if struct.members[-1].name == "values" else -1
    size = struct.size + (POINTER * (entries[-1][0] + 1) if entries and values >= 0 else 0)
    return builder.add(Var(made.name, type_id, LINKAGE_GLOBAL)), size, values


def _room(btf: Btf, old: Var, made: MapSpec, values: int) -> int:
    """How much a flexible ``values`` array takes beyond the struct itself."""
    entries = static_values(made)
    if values < 0 or not entries:
        return 0
    return max(0, values + POINTER * (entries[-1][0] + 1) - btf.sizeof(old))


def _facts(made: MapSpec) -> tuple[object, ...]:
    """What a definition says, apart from layouts that differ in names only."""
    return (
        made.kind, made.key_size, made.value_size, made.max_entries, made.flags, made.extra, made.numa_node,
        made.pin == PIN_ROOT + made.name, made.key and made.key.plain(), made.value and made.value.plain(),
        made.inner and _facts(made.inner),
    )  # fmt: skip


def _definition(builder: BtfBuilder, made: MapSpec, inner: bool = False) -> Struct:
    row = map_types.TABLE.find(made.kind)
    if row is None:
        raise ObjectError("OBJ023", f"map {made.name!r} has unknown type {made.kind!r}")
    members = [_number(builder, "type", row.number)]
    for name in ("key", "value"):
        layout, type_id, size = (getattr(made, name + suffix) for suffix in ("", "_btf", "_size"))
        holds_fds = name == "value" and (made.inner is not None or made.kind == "prog_array")
        if layout is not None and not holds_fds:
            members.append((name, builder.add(Ptr(type_id or layout_to_btf(builder, layout)))))
        elif size and not holds_fds:
            members.append(_number(builder, f"{name}_size", size))
    numbers = (("max_entries", made.max_entries), ("map_flags", made.flags), ("numa_node", made.numa_node))
    members += [_number(builder, name, value) for name, value in numbers if value]
    if made.extra:
        members.append(_number(builder, "map_extra", made.extra))
    if made.pin == PIN_ROOT + made.name and not inner:
        members.append(_number(builder, "pinning", 1))
    laid = [Member(name, type_id, 64 * index) for index, (name, type_id) in enumerate(members)]
    size = POINTER * len(laid)
    if not inner and (made.inner is not None or made.kind == "prog_array"):
        laid.append(Member("values", _pointers(builder, made), 8 * size))
    return Struct("", size, laid)


def _pointers(builder: BtfBuilder, made: MapSpec) -> int:
    if made.inner is not None:
        target = builder.add(_definition(builder, made.inner, True))
    else:
        context = builder.add(Ptr(0))
        target = builder.add(FuncProto(_int(builder), [Param("", context)]))
    index = builder.add(Int("__ARRAY_SIZE_TYPE__", 4))
    return builder.add(Array(builder.add(Ptr(target)), index, 0))


def _int(builder: BtfBuilder) -> int:
    return builder.add(Int("int", 4, INT_SIGNED))


def _number(builder: BtfBuilder, name: str, value: int) -> tuple[str, int]:
    """A member that stands for a number: a pointer to an array of that length, beyond 32 bits an enum's only value."""
    if not 0 <= value < 1 << 64:
        raise ObjectError("OBJ023", f"{name} of a map is {value}")
    if value >> 32:
        return name, builder.add(Enum64("", 8, [Enumerator(f"__osmia_{name}_{value:x}", value)]))
    # The kernel refuses arrays of 4 GiB, pointed to or not: large numbers count single bytes.
    element = builder.add(Int("char", 1, INT_SIGNED)) if value >> 30 else _int(builder)
    index = builder.add(Int("__ARRAY_SIZE_TYPE__", 4))
    return name, builder.add(Ptr(builder.add(Array(element, index, value))))
