# ruff: noqa: D103 - the functions are named after rows of the table of operations, which docs/ir.md explains
"""Terminators: each gives the label of the next block, None at the end of the function."""

from __future__ import annotations

from osmia.compiler.evaluate.faults import Fault, malformed
from osmia.compiler.evaluate.memory import Pointer
from osmia.compiler.evaluate.values import convert, unsigned
from osmia.compiler.ir import VOID, Space
from osmia.object.layout import Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.evaluate.frame import Frame
    from osmia.compiler.ir import Op

MAX_PACKET_OFFSET = 0xFFFF


def eval_br(frame: Frame, op: Op) -> str:
    return str(op.attrs["to"])


def eval_condbr(frame: Frame, op: Op) -> str:
    return str(op.attrs["then" if frame.number(op.args[0]) else "other"])


def eval_switch(frame: Frame, op: Op) -> str:
    type_ = op.args[0].type
    bits = type_.bits if isinstance(type_, Int) else 64
    value = unsigned(frame.number(op.args[0]), bits)
    for number, label in op.attrs["cases"]:
        if unsigned(number, bits) == value:
            return str(label)
    return str(op.attrs["default"])


def eval_ret(frame: Frame, op: Op) -> None:
    result = frame.function.result
    if result is VOID:
        frame.returned = None
    elif op.args:
        frame.returned = frame.value(op.args[0])
    else:
        frame.returned = convert(0, result, frame.run.machine.kernel)


def eval_unreachable(frame: Frame, op: Op) -> str | None:
    raise Fault("IR352", "control reached an operation that says it cannot be reached")


def _leave(frame: Frame, op: Op, value: Pointer | int | None) -> str:
    if value is None:
        return str(op.attrs["other"])
    if op.result is not None:
        frame.values[op.result.name] = value
    return str(op.attrs["then"])


def eval_br_nonnull(frame: Frame, op: Op) -> str:
    pointer = frame.pointer(op.args[0])
    return _leave(frame, op, None if pointer.null else pointer)


def eval_br_inrange(frame: Frame, op: Op) -> str:
    index = op.args[0]
    type_ = index.type
    value = frame.number(index)
    inside = unsigned(value, type_.bits if isinstance(type_, Int) else 64) < op.attrs["count"]
    return _leave(frame, op, value if inside else None)


def eval_br_packet(frame: Frame, op: Op) -> str:
    data, end = frame.pointer(op.args[0]), frame.pointer(op.args[2])
    offset, size = frame.number(op.args[1]), op.attrs["size"]
    for pointer in (data, end):
        if pointer.region is None or pointer.region.space is not Space.PACKET:
            raise malformed("br.packet works on packet pointers")
    if data.region is not end.region or (data.region is not None and data.region.dead):
        raise Fault("IR345", "br.packet compares pointers of which one is no longer the packet's", "load both again")
    start = data.offset + offset
    if offset > MAX_PACKET_OFFSET - size or start + size > end.offset:
        return _leave(frame, op, None)
    return _leave(frame, op, Pointer(data.region, start, start, start + size))
