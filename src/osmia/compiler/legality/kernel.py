"""Rules about kernel types, symbols, configuration values and packet pointers."""

from __future__ import annotations

from osmia.compiler.ir import KArray, KType, Ptr, Space
from osmia.compiler.ir.typing import describe
from osmia.object.layout import Array, Bool, Bytes, Char, Enum, Int, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.ir import Op
    from osmia.compiler.legality.context import Context

KINDS = ("struct", "union", "enum", "typedef")


def _base(context: Context, op: Op, enum: bool = False) -> bool:
    base = op.attrs["base"]
    if base.kind not in KINDS or not base.name:
        context.at(op, "IR022", f"{base} is no kernel type", f"the kind is one of {', '.join(KINDS)}")
        return False
    if enum and base.kind not in ("enum", "typedef"):
        context.at(op, "IR022", f"{base} has no enumerators")
        return False
    return True


def _steps(context: Context, op: Op) -> object | None:
    """The type that a path ends with; None when the path is wrong."""
    if not _base(context, op):
        return None
    current: object = op.attrs["base"]
    if not op.attrs["steps"]:
        context.at(op, "IR022", "the path is empty")
        return None
    for step, type_ in op.attrs["steps"]:
        if not isinstance(type_, (Layout, KType, KArray, Ptr)):
            context.at(op, "IR022", f"{type_!r} is no type of a member")
            return None
        if isinstance(step, str):
            if not isinstance(current, KType) or current.kind == "enum" or not step:
                context.at(op, "IR022", f"{describe(current)} has no member {step!r}")
                return None
        else:
            count = current.count if isinstance(current, (KArray, Array)) else None
            if isinstance(current, (Char, Bytes)):
                count = current.size
            if count is None:
                context.at(op, "IR022", f"{describe(current)} takes no index")
                return None
            if step < 0 or (count and step >= count):
                context.at(op, "IR012", f"index {step} of {count} elements")
                return None
        if isinstance(type_, KType) and not _member_kind(context, op, type_):
            return None
        current = type_
    return current


def _member_kind(context: Context, op: Op, type_: KType) -> bool:
    if type_.kind in KINDS and type_.name:
        return True
    context.at(op, "IR022", f"{type_} is no kernel type")
    return False


def _field(context: Context, op: Op) -> None:
    end = _steps(context, op)
    assert op.result is not None
    result, source = op.result.type, op.args[0].type
    if end is None or not isinstance(source, Ptr):
        return
    if not isinstance(result, Ptr) or result.space is not source.space or result.to != end or result.nullable:
        context.at(op, "IR004", f"gives ptr<{source.space.value}, {end}>, not {result}")


def _bitfield(context: Context, op: Op) -> None:
    end = _steps(context, op)
    if end is not None and not isinstance(end, (Int, Bool, Enum)):
        context.at(op, "IR022", f"{describe(end)} is no integer")
    source = op.args[0].type
    if isinstance(source, Ptr) and source.space not in (Space.BTF, Space.KERNEL, Space.USER):
        context.at(op, "IR010", f"reads kernel memory, not {source}")


def _info(context: Context, op: Op) -> None:
    _steps(context, op)


def _type(context: Context, op: Op) -> None:
    _base(context, op)


def _enum(context: Context, op: Op) -> None:
    if _base(context, op, True) and not op.attrs["enumerator"].isidentifier():
        context.at(op, "IR022", f"{op.attrs['enumerator']!r} is no name of an enumerator")
    if op.result is not None and op.name == "core.enum_value" and op.result.type not in (Int(64), Int(64, True)):
        context.at(op, "IR004", f"gives u64 or s64, not {op.result.type}")


def _ksym(context: Context, op: Op) -> None:
    assert op.result is not None
    result = op.result.type
    if not isinstance(result, Ptr) or result.space not in (Space.BTF, Space.KERNEL):
        context.at(op, "IR004", f"gives an address of kernel memory, not {result}")
    elif bool(op.attrs.get("weak")) and not result.nullable:
        context.at(op, "IR004", "a weak symbol may be missing: the result may be null")
    _symbol(context, op)


def _symbol(context: Context, op: Op) -> None:
    name = op.attrs["name"]
    module = context.module
    if not name.isidentifier():
        context.at(op, "IR016", f"{name!r} is no name of a kernel symbol")
    elif name in module.maps or name in module.globals or name in module.functions:
        context.at(op, "IR016", f"{name!r} is also a map, global or function of the program", "rename that")


def _kconfig(context: Context, op: Op) -> None:
    assert op.result is not None
    if not isinstance(op.result.type, (Int, Bool)):
        context.at(op, "IR004", f"gives an integer or bool, not {op.result.type}")
    for other in context.definitions.values():
        same = other.name == "kconfig" and other.attrs.get("name") == op.attrs["name"]
        if same and other.result is not None and other.result.type != op.result.type:
            context.at(op, "IR022", f"{op.attrs['name']} is used as {other.result.type} and as {op.result.type}")
            break
    _symbol(context, op)


def _ctx_packet(context: Context, op: Op) -> None:
    assert op.result is not None
    result = op.result.type
    if not isinstance(result, Ptr) or result.space is not Space.PACKET or result.bound is not None or result.nullable:
        context.at(op, "IR004", f"gives ptr<packet, ...> without a bound, not {result}")
    needs_context(context, op, 0)


def needs_context(context: Context, op: Op, position: int) -> None:
    """An operation that uses the context must be given it, or stand in a function that has it."""
    assert context.function is not None
    if len(op.args) > position:
        return
    if not any(isinstance(p.type, Ptr) and p.type.space is Space.CTX for p in context.function.params):
        context.at(op, "IR015", f"{context.function.name} has no context", "give the context as a parameter")


RULES = {
    "core.field": _field,
    "core.bitfield": _bitfield,
    "core.field_exists": _info,
    "core.field_size": _info,
    "core.field_offset": _info,
    "core.type_exists": _type,
    "core.type_size": _type,
    "core.enum_value": _enum,
    "core.enum_exists": _enum,
    "ksym.addr": _ksym,
    "kfunc.exists": _symbol,
    "kconfig": _kconfig,
    "ctx.packet": _ctx_packet,
}
