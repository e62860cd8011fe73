"""Integers: conversions, the rules for result types, arithmetic. ``docs/language.md`` states the rules."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import Value
from osmia.frontends.python.values import Const, Group, KPlace, KPtr, Mem, Num, Operand, Truth
from osmia.lang.program import Option, Var
from osmia.lang.types import KernelName
from osmia.object.layout import BOOL, S64, U64, Bytes, Char, Int

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn

WIDTHS = (8, 16, 32, 64)

_FOLD: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_SIMPLE = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}
_BITWISE = {ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor"}
_SIGNS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.LShift: "<<", ast.RShift: ">>", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.MatMult: "@",
}  # fmt: skip
_MAX_POWER = 16
_MAX_FOLD_BITS = 4096


# -- conversions ----------------------------------------------------------------------------------------------------


def convert(fn: Fn, value: Value, source: Int, target: Int) -> Value:
    """An integer value in another type: extended by its own sign, or its low bits."""
    if source == target:
        return value
    if source.bits == target.bits:
        return fn.fb.emit("retype", value, type=target)
    if source.bits > target.bits:
        return fn.fb.emit("trunc", value, type=target)
    return fn.fb.emit("sext" if source.signed else "zext", value, type=target)


def as_number(fn: Fn, operand: Operand, node: ast.AST) -> Operand:
    """The operand as a number, truth value or constant of those.

    :raises CompileError: PY106 when it is something else.
    """
    if isinstance(operand, (Num, Truth)):
        return operand
    if isinstance(operand, Const):
        if isinstance(operand.value, int):
            return Const(operand.value if isinstance(operand.value, bool) else int(operand.value))
        if isinstance(operand.value, KernelName):
            from osmia.frontends.python.kernel_fields import enumerator

            return enumerator(fn, operand.value, node)
        if isinstance(operand.value, float):
            raise fn.error(
                "PY103", node, f"{operand.value!r} is no integer, and the kernel has no floating point",
                hint="write a scaled integer, or int(...) around the constant",
            )  # fmt: skip
    hint = None
    if isinstance(operand, Const) and isinstance(operand.value, (Option, Var)):
        hint = "read its value: add `.value`"
    elif isinstance(operand, KPtr):
        hint = "addr(p) is the address as a number; kernel_read(p, u64) reads there"
    elif isinstance(operand, KPlace):
        hint = "name one of its fields"
    elif isinstance(operand, Mem) and isinstance(operand.layout, (Char, Bytes)):
        hint = "ord(text[0]) is the number of a character"
    elif isinstance(operand, Group):
        hint = "take one part of it: t[0]"
    raise fn.error("PY106", node, f"a number is needed here, not {operand.describe()}", hint=hint)


def to_int(fn: Fn, operand: Operand, target: Int, node: ast.AST) -> Value:
    """The operand as an integer of a type: the low bits of a number; a constant only if it fits.

    :raises CompileError: PY105 for a constant that does not fit, PY106 for what is no number.
    """
    operand = as_number(fn, fn.unwrap(operand, node), node)
    if isinstance(operand, Const):
        low, high = target.range()
        if not low <= operand.value <= high:
            raise fn.error(
                "PY105", node, f"{operand.value} does not fit {target}, which holds {low} to {high}",
                hint=f"{target}(...) keeps the low bits of a number",
            )  # fmt: skip
        return fn.const(int(operand.value), target)
    if isinstance(operand, Truth):
        return fn.fb.emit("zext", operand.value, type=target)
    assert isinstance(operand, Num)
    return convert(fn, operand.value, operand.type, target)


def wrapped(value: int, type: Int) -> int:
    """The integer modulo 2^width, as the type reads it."""
    value &= (1 << type.bits) - 1
    return value - (1 << type.bits) if type.signed and value >> (type.bits - 1) else value


def cast(fn: Fn, operand: Operand, target: Int, node: ast.AST) -> Operand:
    """``u32(x)``: the low bits."""
    if isinstance(operand, Const) and isinstance(operand.value, float) and operand.value.is_integer():
        operand = Const(int(operand.value))
    operand = as_number(fn, fn.unwrap(operand, node), node)
    if isinstance(operand, Const):
        return Num(fn.const(wrapped(operand.value, target), target), target)
    return Num(to_int(fn, operand, target, node), target)


def join(left: Int, right: Int) -> Int:
    """The type of ``left + right``."""
    if left.signed == right.signed:
        return left if left.bits >= right.bits else right
    unsigned, signed = (right, left) if left.signed else (left, right)
    if signed.bits > unsigned.bits:
        return signed
    return Int(unsigned.bits * 2, True) if unsigned.bits < 64 else U64


def literal_join(fn: Fn, value: int, type: Int, node: ast.AST, bitwise: bool = False) -> Int:
    """The type of an operation between a literal and a value of ``type``."""
    low, high = type.range()
    if low <= value <= high or (bitwise and not type.signed and -(1 << (type.bits - 1)) <= value < 0):
        return type
    for bits in WIDTHS:
        for signed in (type.signed, not type.signed):
            wider = Int(bits, signed)
            least, most = wider.range()
            if least <= min(low, value) and max(high, value) <= most:
                return wider
    if S64.range()[0] <= value <= U64.range()[1]:
        return U64
    raise fn.error("PY105", node, f"{value} does not fit 64 bits")


def unify(fn: Fn, left: Operand, right: Operand, node: ast.AST, bitwise: bool = False) -> Int:
    """The type in which two number operands meet (not both constant)."""
    if isinstance(left, Truth):
        left = Const(1) if isinstance(right, Num) else Num(left.value, S64)
    if isinstance(right, Truth):
        right = Const(1) if isinstance(left, Num) else Num(right.value, S64)
    if isinstance(left, Const) and isinstance(right, Num):
        return literal_join(fn, int(left.value), right.type, node, bitwise)
    if isinstance(right, Const) and isinstance(left, Num):
        return literal_join(fn, int(right.value), left.type, node, bitwise)
    if isinstance(left, Num) and isinstance(right, Num):
        return join(left.type, right.type)
    return S64


def in_type(fn: Fn, operand: Operand, type: Int, node: ast.AST) -> Value:
    """A number operand in the type of its operation; constants wrap."""
    if isinstance(operand, Const):
        return fn.const(wrapped(int(operand.value), type), type)
    return to_int(fn, operand, type, node)


# -- arithmetic -----------------------------------------------------------------------------------------------------


def fold(fn: Fn, op: ast.operator, left: Const, right: Const, node: ast.AST) -> Const:
    """Two constants, computed by Python."""
    if isinstance(op, (ast.Pow, ast.LShift)) and all(isinstance(item.value, int) for item in (left, right)):
        size = max(int(left.value).bit_length(), 1) * max(int(right.value), 0)
        if size > _MAX_FOLD_BITS and (isinstance(op, ast.Pow) or right.value > _MAX_FOLD_BITS):
            raise fn.error("PY105", node, "this constant does not fit 64 bits")
    try:
        return Const(_FOLD[type(op)](left.value, right.value))
    except (ArithmeticError, TypeError, ValueError, KeyError) as error:
        raise fn.error("PY107", node, f"this constant expression has no value: {error}") from None


_FOLDABLE = (bool, int, float, str, bytes, tuple)


def binop(
    fn: Fn,
    op: ast.operator,
    left: Operand,
    right: Operand,
    node: ast.AST,
    places: tuple[ast.AST, ast.AST] | None = None,
) -> Operand:
    """``left op right`` for operands that are there; ``places`` are their nodes."""
    left_node, right_node = places or (node, node)
    if (
        isinstance(left, Const)
        and isinstance(right, Const)
        and isinstance(left.value, _FOLDABLE)
        and isinstance(right.value, _FOLDABLE)
    ):
        return fold(fn, op, left, right, node)
    sign = _SIGNS[type(op)]
    for operand in (left, right):
        if isinstance(operand, Mem) and isinstance(operand.layout, (Char, Bytes)):
            raise fn.error(
                "PY108", node, f"text cannot be changed or joined with {sign} in the kernel",
                hint="send the parts and join them in user space; print() takes f-strings",
            )  # fmt: skip
    left, right = as_number(fn, left, left_node), as_number(fn, right, right_node)
    if isinstance(left, Const) and isinstance(right, Const):
        return fold(fn, op, left, right, node)
    if isinstance(op, ast.Div):
        raise fn.error("PY109", node, "the kernel has no floating point, so `/` has no meaning", hint="write `//`")
    if isinstance(op, ast.MatMult):
        raise fn.error("PY109", node, "`@` is no operation on numbers")
    if isinstance(op, (ast.LShift, ast.RShift)):
        return _shift(fn, op, left, right, node)
    if isinstance(op, ast.Pow):
        return _power(fn, left, right, node)
    if type(op) in _BITWISE:
        return _bitwise(fn, _BITWISE[type(op)], left, right, node)
    type_ = unify(fn, left, right, node)
    if isinstance(op, (ast.FloorDiv, ast.Mod)):
        return _divide(fn, isinstance(op, ast.Mod), left, right, type_, node)
    a, b = in_type(fn, left, type_, node), in_type(fn, right, type_, node)
    return Num(fn.fb.emit(_SIMPLE[type(op)], a, b, type=type_), type_)


def _bitwise(fn: Fn, name: str, left: Operand, right: Operand, node: ast.AST) -> Operand:
    if all(
        isinstance(item, Truth) or (isinstance(item, Const) and isinstance(item.value, bool)) for item in (left, right)
    ):
        a, b = fn.truth(left, node), fn.truth(right, node)
        return Truth(fn.fb.emit(name, a, b, type=BOOL))
    type_ = unify(fn, left, right, node, bitwise=True)
    a, b = in_type(fn, left, type_, node), in_type(fn, right, type_, node)
    return Num(fn.fb.emit(name, a, b, type=type_), type_)


def _shift(fn: Fn, op: ast.operator, left: Operand, right: Operand, node: ast.AST) -> Operand:
    if isinstance(left, Num):
        type_ = left.type
    elif isinstance(left, Const):
        type_ = fn.literal_type(int(left.value), node)
    else:
        type_ = S64
    if isinstance(right, Const) and not 0 <= right.value < type_.bits:
        raise fn.error(
            "PY110", node, f"a {type_} cannot be shifted by {int(right.value)}",
            hint=f"widen it first: u64(x) {_SIGNS[type(op)]} {int(right.value)}" if 0 < right.value < 64 else None,
        )  # fmt: skip
    a = in_type(fn, left, type_, node)
    b = in_type(fn, right, type_, node)
    name = "shl" if isinstance(op, ast.LShift) else "ashr" if type_.signed else "lshr"
    return Num(fn.fb.emit(name, a, b, type=type_), type_)


def _power(fn: Fn, left: Operand, right: Operand, node: ast.AST) -> Operand:
    if not isinstance(right, Const) or not 0 <= right.value <= _MAX_POWER:
        raise fn.error(
            "PY111", node, f"an exponent is a constant from 0 to {_MAX_POWER}", hint="write a loop, or a shift: 1 << n"
        )
    type_ = left.type if isinstance(left, Num) else S64
    value = in_type(fn, left, type_, node)
    result = fn.const(1, type_)
    for _ in range(int(right.value)):
        result = fn.fb.emit("mul", result, value, type=type_)
    return Num(result, type_)


def _divide(fn: Fn, modulo: bool, left: Operand, right: Operand, type_: Int, node: ast.AST) -> Operand:
    """Rounds down, as Python does; the divisor 0 gives 0, modulo 0 the dividend."""
    a = in_type(fn, left, type_, node)
    divisor = wrapped(int(right.value), type_) if isinstance(right, Const) else None
    emit = fn.fb.emit
    if divisor is not None and divisor > 0 and divisor & (divisor - 1) == 0:
        if modulo:
            return Num(emit("and", a, fn.const(divisor - 1, type_), type=type_), type_)
        count = fn.const(divisor.bit_length() - 1, type_)
        return Num(emit("ashr" if type_.signed else "lshr", a, count, type=type_), type_)
    if divisor == 0:
        return Num(a if modulo else fn.const(0, type_), type_)
    b = in_type(fn, right, type_, node)
    if not type_.signed:
        return Num(emit("umod" if modulo else "udiv", a, b, type=type_), type_)
    zero = fn.const(0, type_)
    rest = emit("smod", a, b, type=type_)
    # The machine rounds towards zero; where signs differ and something is left over, the next lower number is meant.
    differ = fn.compare("slt", emit("xor", rest, b, type=type_), zero)
    down = emit("and", fn.compare("ne", rest, zero), differ, type=BOOL)
    if divisor is None:
        down = emit("and", down, fn.compare("ne", b, zero), type=BOOL)
    if modulo:
        return Num(emit("select", down, emit("add", rest, b, type=type_), rest, type=type_), type_)
    quotient = emit("sdiv", a, b, type=type_)
    lower = emit("sub", quotient, fn.const(1, type_), type=type_)
    return Num(emit("select", down, lower, quotient, type=type_), type_)


def negate(fn: Fn, operand: Operand, node: ast.AST) -> Operand:
    """``-x``."""
    if isinstance(operand, Const) and isinstance(operand.value, (int, float)):
        return Const(-operand.value)
    operand = as_number(fn, operand, node)
    if isinstance(operand, Const):
        return Const(-operand.value)
    if isinstance(operand, Truth):
        operand = Num(to_int(fn, operand, S64, node), S64)
    assert isinstance(operand, Num)
    return Num(fn.fb.emit("neg", operand.value, type=operand.type), operand.type)


def invert(fn: Fn, operand: Operand, node: ast.AST) -> Operand:
    """``~x``."""
    operand = as_number(fn, operand, node)
    if isinstance(operand, Truth) or (isinstance(operand, Const) and isinstance(operand.value, bool)):
        raise fn.error("PY112", node, "`~` of a truth value is never what is meant", hint="write `not x`")
    if isinstance(operand, Const):
        return Const(~operand.value)
    assert isinstance(operand, Num)
    return Num(fn.fb.emit("not", operand.value, type=operand.type), operand.type)
