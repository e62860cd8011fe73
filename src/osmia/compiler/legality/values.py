"""Rules about constants, conversions and control flow."""

from __future__ import annotations

from osmia.compiler.ir import VOID, Ptr, Space
from osmia.compiler.ir.typing import assignable, describe, size_of
from osmia.object.layout import Bool, Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.ir import Op
    from osmia.compiler.legality.context import Context


def _const(context: Context, op: Op) -> None:
    assert op.result is not None
    type_, value = op.result.type, op.attrs["value"]
    if isinstance(type_, Bool):
        if value not in (0, 1):
            context.at(op, "IR003", f"a bool is 0 or 1, not {value}")
    elif isinstance(type_, Int):
        if not -(1 << (type_.bits - 1)) <= value < 1 << type_.bits:
            context.at(op, "IR003", f"{value} does not fit {type_}")
    else:
        context.at(op, "IR004", f"a constant is an integer or bool, not {describe(type_)}")


def _widths(context: Context, op: Op) -> tuple[int, int]:
    assert op.result is not None and isinstance(op.result.type, Int)
    source = op.args[0].type
    return (1 if isinstance(source, Bool) else source.bits if isinstance(source, Int) else 0), op.result.type.bits


def _extend(context: Context, op: Op) -> None:
    before, after = _widths(context, op)
    if before >= after:
        context.at(op, "IR004", f"{after} bits are not wider than {before}")


def _trunc(context: Context, op: Op) -> None:
    before, after = _widths(context, op)
    if before <= after:
        context.at(op, "IR004", f"{after} bits are not narrower than {before}")


def _retype(context: Context, op: Op) -> None:
    before, after = _widths(context, op)
    if before != after:
        context.at(op, "IR004", f"{after} bits are not as wide as {before}")


def _select(context: Context, op: Op) -> None:
    if op.args[1].type != op.args[2].type:
        context.at(op, "IR002", f"chooses between {describe(op.args[1].type)} and {describe(op.args[2].type)}")


def _switch(context: Context, op: Op) -> None:
    type_ = op.args[0].type
    assert isinstance(type_, Int)
    seen: set[int] = set()
    for number, _ in op.attrs["cases"]:
        if not -(1 << (type_.bits - 1)) <= number < 1 << type_.bits:
            context.at(op, "IR003", f"case {number} does not fit {type_}")
        key = number % (1 << type_.bits)
        if key in seen:
            context.at(op, "IR003", f"case {number} is there twice")
        seen.add(key)


def _ret(context: Context, op: Op) -> None:
    assert context.function is not None
    wanted = context.function.result
    if not op.args:
        if wanted is not VOID:
            context.at(op, "IR015", f"{context.function.name} returns {describe(wanted)}")
    elif wanted is VOID or not assignable(op.args[0].type, wanted):
        context.at(op, "IR015", f"{context.function.name} returns {describe(wanted)}, not {op.args[0].type}")


def _nonnull(context: Context, op: Op) -> None:
    pointer = op.args[0].type
    if op.result is None:
        context.at(op, "IR004", "its result is missing")
    elif isinstance(pointer, Ptr) and op.result.type != pointer.nonnull():
        context.at(op, "IR004", f"gives {pointer.nonnull()}, not {op.result.type}")


def _inrange(context: Context, op: Op) -> None:
    type_ = op.args[0].type
    if isinstance(type_, Int) and op.attrs["count"] > 1 << type_.bits:
        context.at(op, "IR003", f"every {type_} is below {op.attrs['count']}")


def _packet(context: Context, op: Op) -> None:
    data, _, end = (value.type for value in op.args)
    size = op.attrs["size"]
    assert op.result is not None
    type_ = op.result.type
    for pointer in (data, end):
        if isinstance(pointer, Ptr) and pointer.bound is not None:
            context.at(op, "IR010", "takes the packet's start and end as the context gives them (ctx.packet)")
    if size > 0xFFFF:
        context.at(op, "IR012", f"{size} bytes are more than a packet can hold (65535)")
    if not isinstance(type_, Ptr) or type_.space is not Space.PACKET or type_.nullable or type_.bound != size:
        context.at(op, "IR004", f"gives ptr<packet, ..., {size}>, not {type_}")
    elif (size_of(type_.to) or 0) > size:
        context.at(op, "IR012", f"{type_.to} needs {size_of(type_.to)} bytes, {size} are checked")


RULES = {
    "const": _const,
    "zext": _extend,
    "sext": _extend,
    "trunc": _trunc,
    "retype": _retype,
    "select": _select,
    "switch": _switch,
    "ret": _ret,
    "br.nonnull": _nonnull,
    "br.inrange": _inrange,
    "br.packet": _packet,
}
