# ruff: noqa: D103 - the functions are named after rows of the table of operations, which docs/ir.md explains
"""Constants, arithmetic, comparisons and conversions."""

from __future__ import annotations

from osmia.compiler.evaluate.faults import malformed
from osmia.compiler.evaluate.frame import int_type, result_type
from osmia.compiler.evaluate.memory import ORDER, Pointer
from osmia.compiler.evaluate.values import scalar, signed, unsigned, wrap
from osmia.object.layout import Bool, Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from osmia.compiler.evaluate.frame import Frame
    from osmia.compiler.ir import Op


def _udiv(a: int, b: int) -> int:
    return a // b if b else 0


def _umod(a: int, b: int) -> int:
    return a % b if b else a


def _sdiv(a: int, b: int) -> int:
    if not b:
        return 0
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _smod(a: int, b: int) -> int:
    if not b:
        return a
    return abs(a) % abs(b) * (-1 if a < 0 else 1)


_PLAIN: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
}
_UNSIGNED: dict[str, Callable[[int, int], int]] = {"udiv": _udiv, "umod": _umod}
_SIGNED: dict[str, Callable[[int, int], int]] = {"sdiv": _sdiv, "smod": _smod}
_ORDER: dict[str, Callable[[int, int], bool]] = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}


def arithmetic(name: str, a: int, b: int, type_: Int) -> int:
    """The result of a binary operation by the rules of BPF."""
    bits = type_.bits
    if name in _PLAIN:
        value = _PLAIN[name](a, b)
    elif name in _UNSIGNED:
        value = _UNSIGNED[name](unsigned(a, bits), unsigned(b, bits))
    elif name in _SIGNED:
        value = _SIGNED[name](signed(a, bits), signed(b, bits))
    else:
        count = unsigned(b, bits) % bits
        if name == "shl":
            value = a << count
        elif name == "lshr":
            value = unsigned(a, bits) >> count
        else:
            value = signed(a, bits) >> count
    return wrap(value, type_)


def eval_const(frame: Frame, op: Op) -> int | bool:
    type_ = scalar(result_type(op))
    value = int(op.attrs["value"])
    if isinstance(type_, Bool):
        return bool(value)
    if isinstance(type_, Int):
        return wrap(value, type_)
    raise malformed(f"const gives a {type_}, which is no scalar")


def _same(op: Op) -> None:
    a, b = op.args[0].type, op.args[1].type
    if a != b:
        raise malformed(f"{op.name} has operands of the types {a} and {b}")


def eval_binary(frame: Frame, op: Op) -> int | bool:
    _same(op)
    a, b = frame.number(op.args[0]), frame.number(op.args[1])
    if isinstance(op.args[0].type, Bool) and op.name in _PLAIN:
        return bool(_PLAIN[op.name](a, b) & 1)
    return arithmetic(op.name, a, b, int_type(op))


def eval_unary(frame: Frame, op: Op) -> int | bool:
    a = frame.number(op.args[0])
    if isinstance(op.args[0].type, Bool):
        return not a
    return wrap(-a if op.name == "neg" else ~a, int_type(op))


def eval_compare(frame: Frame, op: Op) -> bool:
    a, b = frame.value(op.args[0]), frame.value(op.args[1])
    if op.name in ("eq", "ne"):
        if isinstance(a, Pointer) != isinstance(b, Pointer):
            raise malformed(f"{op.name} compares a pointer with a number")
        if not isinstance(a, Pointer):
            _same(op)
        return bool((a == b) == (op.name == "eq"))
    _same(op)
    type_ = op.args[0].type
    if not isinstance(type_, Int):
        raise malformed(f"{op.name} compares values of type {type_}")
    change = signed if op.name[0] == "s" else unsigned
    return _ORDER[op.name[1:]](change(a, type_.bits), change(b, type_.bits))


def eval_convert(frame: Frame, op: Op) -> int:
    source, type_ = op.args[0].type, int_type(op)
    value = frame.number(op.args[0])
    if isinstance(source, Bool):
        return int(value)
    if not isinstance(source, Int):
        raise malformed(f"{op.name} converts a {source}")
    fits = {"zext": source.bits < type_.bits, "sext": source.bits < type_.bits, "trunc": source.bits > type_.bits}
    if not fits.get(op.name, source.bits == type_.bits):
        raise malformed(f"{op.name} from {source} to {type_}")
    if op.name == "zext":
        value = unsigned(value, source.bits)
    elif op.name == "sext":
        value = signed(value, source.bits)
    return wrap(value, type_)


def eval_select(frame: Frame, op: Op) -> Any:
    c, a, b = (frame.value(arg) for arg in op.args)
    return a if c else b


def eval_bswap(frame: Frame, op: Op) -> int:
    type_ = int_type(op)
    value = unsigned(frame.number(op.args[0]), type_.bits)
    return wrap(int.from_bytes(value.to_bytes(type_.size, ORDER)[::-1], ORDER), type_)
