"""Rules about locals, pointers, loads and stores, pieces of memory and atomics."""

from __future__ import annotations

from osmia.compiler.ir import Ptr, Space
from osmia.compiler.ir.flow import is_aggregate
from osmia.compiler.ir.typing import assignable, describe, element_of, reach, size_of, value_of
from osmia.object.layout import Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.ir import Local, Op, Value
    from osmia.compiler.legality.context import Context

_ADDRESSES = (Space.KERNEL, Space.USER)
_ATOMIC = (Space.STACK, Space.MAP, Space.GLOBAL, Space.RING, Space.MEM)


def pointer_of(value: Value) -> Ptr:
    """The pointer type of an operand that is known to be one."""
    assert isinstance(value.type, Ptr)
    return value.type


def _local(context: Context, op: Op) -> Local | None:
    assert context.function is not None
    local = context.function.locals.get(op.attrs["local"])
    if local is None:
        context.at(op, "IR007", f"there is no local ${op.attrs['local']}")
    return local


def _local_get(context: Context, op: Op) -> None:
    local = _local(context, op)
    if local is None:
        return
    value = value_of(local.type)
    assert op.result is not None
    if value is None or is_aggregate(local.type):
        context.at(op, "IR016", f"${local.name} is {local.type}, which is no value", "use its address")
    elif op.result.type != value:
        context.at(op, "IR004", f"gives {value}, not {op.result.type}")


def _local_set(context: Context, op: Op) -> None:
    local = _local(context, op)
    if local is None:
        return
    value = value_of(local.type)
    if value is None or is_aggregate(local.type):
        context.at(op, "IR016", f"${local.name} is {local.type}, which is no value", "copy to its address")
    elif not assignable(op.args[0].type, value):
        context.at(op, "IR002", f"${local.name} is {value}, the value {op.args[0].type}")


def _local_addr(context: Context, op: Op) -> None:
    local = _local(context, op)
    assert op.result is not None
    if local is not None and op.result.type != Ptr(Space.STACK, local.type):  # type: ignore[arg-type]
        context.at(op, "IR004", f"gives ptr<stack, {local.type}>, not {op.result.type}")


def within(context: Context, op: Op, pointer: Ptr, size: int, what: str) -> None:
    """Refuses an access of ``size`` bytes that may leave the memory behind the pointer."""
    if pointer.space is Space.PACKET and pointer.bound is None:
        context.at(op, "IR012", f"{what} through a packet pointer without a check", "check it with br.packet")
        return
    room = reach(pointer)
    if room is not None and size > room:
        context.at(op, "IR012", f"{what} {size} bytes, {pointer} has {room}")


def _load(context: Context, op: Op) -> None:
    pointer = pointer_of(op.args[0])
    value = value_of(pointer.to)
    assert op.result is not None
    if value is None:
        context.at(op, "IR016", f"{describe(pointer.to) if pointer.to else 'bytes'} is no scalar and no pointer")
    elif op.result.type != value:
        context.at(op, "IR004", f"gives {value}, not {op.result.type}")
    else:
        within(context, op, pointer, size_of(pointer.to) or 8, "reads")


def _store(context: Context, op: Op) -> None:
    pointer = pointer_of(op.args[0])
    value = value_of(pointer.to)
    if value is None:
        context.at(op, "IR016", f"{describe(pointer.to) if pointer.to else 'bytes'} is no scalar and no pointer")
    elif not assignable(op.args[1].type, value):
        context.at(op, "IR002", f"stores {op.args[1].type} in {value}")
    else:
        within(context, op, pointer, size_of(pointer.to) or 8, "writes")


def _field(context: Context, op: Op) -> None:
    assert op.result is not None
    source, result, offset = pointer_of(op.args[0]), op.result.type, op.attrs["offset"]
    if not isinstance(result, Ptr) or result.space is not source.space or result.nullable:
        context.at(op, "IR004", f"gives a pointer of space {source.space.value}, not {result}")
        return
    size = size_of(result.to) or 0
    room = reach(source)
    if room is not None and offset + size > room:
        context.at(op, "IR012", f"{op.attrs['name'] or 'field'} ends at {offset + size}, {source} has {room} bytes")
    if source.bound is not None and (result.bound is None or result.bound > source.bound - offset):
        context.at(op, "IR004", f"proves at most {source.bound - offset} bytes, not {result.bound}")
    elif source.bound is None and result.bound is not None and (room is None or result.bound > room - offset):
        context.at(op, "IR004", f"proves nothing about {result.bound} bytes")


def _proven(context: Context, value: Value, count: int) -> bool:
    """Whether an index is a constant or was checked to be below ``count``."""
    op = context.definitions.get(value.name)
    while op is not None:
        if op.name == "const":
            return bool(0 <= op.attrs["value"] < count)
        if op.name == "br.inrange":
            return bool(op.attrs["count"] <= count)
        if op.name not in ("zext", "retype"):
            return False
        source = op.args[0]
        if op.name == "retype" and isinstance(source.type, Int) and source.type.signed:
            return False
        op = context.definitions.get(source.name)
    return False


def _element(context: Context, op: Op) -> None:
    assert op.result is not None
    source, result = pointer_of(op.args[0]), op.result.type
    kind = element_of(source.to)
    if kind is None:
        context.at(op, "IR002", f"{describe(source.to) if source.to else 'bytes'} has no elements")
        return
    element, count = kind
    if size_of(element) is None:
        context.at(op, "IR022", f"the size of {element} is not known here", "use core.field with an index")
    good = isinstance(result, Ptr) and result.space is source.space and not result.nullable
    if not good or (isinstance(result, Ptr) and (size_of(result.to) or 0) > (size_of(element) or 0)):
        context.at(op, "IR004", f"gives a pointer of space {source.space.value} to {element}, not {result}")
        return
    assert isinstance(result, Ptr)
    if source.space in _ADDRESSES:
        return
    index = context.definitions.get(op.args[1].name)
    constant = index is not None and index.name == "const"
    if not _proven(context, op.args[1], count):
        context.at(op, "IR021", f"nothing proves the index below {count}", "check it with br.inrange")
    elif not constant and source.space in (Space.CTX, Space.PACKET, Space.BTF):
        context.at(
            op, "IR021", f"memory of space {source.space.value} takes constant indices only",
            "for packets, put the offset into br.packet" if source.space is Space.PACKET else None,
        )  # fmt: skip
    elif source.bound is not None:
        used = (index.attrs["value"] if constant and index is not None else count - 1) * (size_of(element) or 0)
        if result.bound is None or result.bound > source.bound - used:
            context.at(op, "IR004", f"proves at most {source.bound - used} bytes, not {result.bound}")


def _cast(context: Context, op: Op) -> None:
    assert op.result is not None
    source, result = pointer_of(op.args[0]), op.result.type
    if not isinstance(result, Ptr) or result.space is not source.space:
        context.at(op, "IR004", f"stays in space {source.space.value}, not {result}")
        return
    if source.nullable and not result.nullable:
        context.at(op, "IR011", "a cast does not prove the pointer", "check it first (br.nonnull)")
    room, size = reach(source), size_of(result.to)
    if source.space not in _ADDRESSES and room is not None and size is not None and size > room:
        context.at(op, "IR012", f"{result.to} has {size} bytes, {source} has {room}")
    if result.bound is not None and result.bound != source.bound and (room is None or result.bound > room):
        context.at(op, "IR012", f"proves nothing about {result.bound} bytes")
    if source.bound is not None and result.bound is None:
        context.at(op, "IR004", f"keeps the bound {source.bound}")


def _ptr_add(context: Context, op: Op) -> None:
    assert op.result is not None
    source, result = pointer_of(op.args[0]), op.result.type
    if source.space not in _ADDRESSES:
        context.at(
            op, "IR010", f"addresses of space {source.space.value} do not take arbitrary sums",
            "use field and element",
        )  # fmt: skip
    elif not isinstance(result, Ptr) or result.space is not source.space:
        context.at(op, "IR004", f"stays in space {source.space.value}, not {result}")


def _int_to_ptr(context: Context, op: Op) -> None:
    assert op.result is not None
    if not isinstance(op.result.type, Ptr) or op.result.type.space not in _ADDRESSES:
        context.at(op, "IR004", f"gives an address of kernel or user memory, not {op.result.type}")


def _null(context: Context, op: Op) -> None:
    assert op.result is not None
    if isinstance(op.result.type, Ptr) and not op.result.type.nullable:
        context.at(op, "IR004", f"gives a pointer that may be null, not {op.result.type}")


def _piece(context: Context, op: Op) -> None:
    """Operations on ``size`` bytes behind their leading pointers."""
    count = 1 if op.name == "zero" or op.name.startswith("read.") else 2
    for value in op.args[:count]:
        within(context, op, pointer_of(value), op.attrs["size"], "touches")
    for value in op.args[:2]:
        if pointer_of(value).space is Space.BTF and op.name in ("copy", "memeq", "streq"):
            context.at(op, "IR010", "memory known by its BTF type is loaded field by field", "use read.kernel")


def _global_addr(context: Context, op: Op) -> None:
    assert op.result is not None
    variable = context.module.globals.get(op.attrs["name"])
    if variable is None:
        context.at(op, "IR007", f"there is no global @{op.attrs['name']}")
    elif op.result.type != Ptr(Space.GLOBAL, variable.layout):
        context.at(op, "IR004", f"gives ptr<global, {variable.layout}>, not {op.result.type}")


def _read_value(context: Context, op: Op) -> None:
    assert op.result is not None
    pointer = pointer_of(op.args[0])
    value = value_of(pointer.to)
    if value is None:
        context.at(op, "IR016", f"{describe(pointer.to) if pointer.to else 'bytes'} is no scalar and no pointer")
    elif op.result.type != value:
        context.at(op, "IR004", f"gives {value}, not {op.result.type}")


def _atomic(context: Context, op: Op) -> None:
    pointer, type_ = pointer_of(op.args[0]), op.args[1].type
    if pointer.space not in _ATOMIC:
        context.at(op, "IR010", f"memory of space {pointer.space.value} takes no atomics")
    value = value_of(pointer.to)
    if value != type_:
        width = size_of(value)
        code = "IR014" if width is not None and width < 4 else "IR002"
        context.at(
            op, code, f"the memory is {describe(pointer.to) if pointer.to else 'bytes'}, the value {type_}",
            "atomics take 32 or 64 bits" if code == "IR014" else None,
        )  # fmt: skip
        return
    if len(op.args) > 2 and op.args[2].type != type_:
        context.at(op, "IR002", f"exchanges {op.args[2].type} in {type_}")
    within(context, op, pointer, size_of(value) or 8, "writes")
    name = op.name.partition(".")[2]
    fetches = bool(op.attrs.get("fetch"))
    if name not in ("xchg", "cmpxchg"):
        if fetches and (op.result is None or op.result.type != type_):
            context.at(op, "IR004", f"gives the old {type_}")
        elif not fetches and op.result is not None:
            context.at(op, "IR004", "gives nothing without fetch")
    if not context.target.modern and (fetches or name != "add"):
        context.at(
            op, "IR014", f"kernels before 5.12 have no {op.name}{' with fetch' if fetches else ''}",
            "choose a target of 5.12 or later",
        )  # fmt: skip


def _scratch_addr(context: Context, op: Op) -> None:
    assert op.result is not None
    source, result = pointer_of(op.args[0]), op.result.type
    if source.space is not Space.MAP or not isinstance(result, Ptr) or result.space is not Space.STACK:
        context.at(op, "IR010", f"stands for a local in scratch memory, not for {result}")
    elif op.attrs["offset"] + (size_of(result.to) or 0) > (reach(source) or 0):
        context.at(op, "IR012", f"ends behind {source}")


def _scratch_slot(context: Context, op: Op) -> None:
    pointer = pointer_of(op.args[0])
    if pointer.space is not Space.MAP or size_of(pointer.to) != 4:
        context.at(op, "IR010", f"takes the flag of a slot, not {pointer}")


RULES = {
    "local.get": _local_get,
    "local.set": _local_set,
    "local.addr": _local_addr,
    "load": _load,
    "store": _store,
    "field": _field,
    "element": _element,
    "cast.ptr": _cast,
    "ptr.add": _ptr_add,
    "int.to.ptr": _int_to_ptr,
    "null": _null,
    "copy": _piece,
    "zero": _piece,
    "memeq": _piece,
    "streq": _piece,
    "read.kernel": _piece,
    "read.user": _piece,
    "read.kernel_str": _piece,
    "read.user_str": _piece,
    "read.value": _read_value,
    "global.addr": _global_addr,
    "atomic.add": _atomic,
    "atomic.and": _atomic,
    "atomic.or": _atomic,
    "atomic.xor": _atomic,
    "atomic.xchg": _atomic,
    "atomic.cmpxchg": _atomic,
    "scratch.addr": _scratch_addr,
    "scratch.claim": _scratch_slot,
    "scratch.release": _scratch_slot,
}
