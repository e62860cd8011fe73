"""Every integer operation at every width, against C's own types and BPF's rules."""

from __future__ import annotations

import ctypes
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_build import body, fault

BITS = (8, 16, 32, 64)
TYPES = [f"{sign}{bits}" for sign in "us" for bits in BITS]
WRAPPING = ("add", "sub", "mul", "and", "or", "xor")
DIVISION = ("udiv", "sdiv", "umod", "smod")
SHIFTS = ("shl", "lshr", "ashr")
ORDER = ("eq", "ne", "ult", "ule", "ugt", "uge", "slt", "sle", "sgt", "sge")
EVALUATORS = {}


def c(kind, bits, value):
    """A value in C's integer type."""
    return getattr(ctypes, f"c_{'u' if kind == 'u' else ''}int{bits}")(value).value


def run(op, type_, a, b, result=None):
    key = (op, type_)
    if key not in EVALUATORS:
        EVALUATORS[key] = body(
            f"%r: {result or type_} = {op} %a, %b\nret %r", f"%a: {type_}, %b: {type_}", result or type_
        )
    return EVALUATORS[key].call("f", a, b)


@st.composite
def operands(draw):
    type_ = draw(st.sampled_from(TYPES))
    bits = int(type_[1:])
    edges = st.sampled_from([0, 1, 2, 3, bits - 1, bits, bits + 1, 2**bits - 1, 2 ** (bits - 1), 2 ** (bits - 1) - 1])
    number = edges | st.integers(0, 2**bits - 1)
    return type_, bits, c(type_[0], bits, draw(number)), c(type_[0], bits, draw(number))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(WRAPPING), operands())
def test_wrapping(op, case):
    type_, bits, a, b = case
    exact = {"add": a + b, "sub": a - b, "mul": a * b, "and": a & b, "or": a | b, "xor": a ^ b}[op]
    assert run(op, type_, a, b) == c(type_[0], bits, exact)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(DIVISION), operands())
def test_division(op, case):
    type_, bits, a, b = case
    x, y = c(op[0], bits, a), c(op[0], bits, b)
    if op.endswith("div"):
        exact = 0 if y == 0 else int(math.copysign(1, x) * math.copysign(1, y)) * (abs(x) // abs(y)) if x else 0
    else:
        exact = x if y == 0 else int(math.copysign(1, x)) * (abs(x) % abs(y))
    assert run(op, type_, a, b) == c(type_[0], bits, exact)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SHIFTS), operands())
def test_shifts(op, case):
    type_, bits, a, b = case
    count = c("u", bits, b) & (bits - 1)
    exact = {"shl": a << count, "lshr": c("u", bits, a) >> count, "ashr": c("s", bits, a) >> count}[op]
    assert run(op, type_, a, b) == c(type_[0], bits, exact)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ORDER), operands())
def test_comparisons(op, case):
    type_, bits, a, b = case
    kind = "s" if op[0] == "s" else "u"
    x, y = c(kind, bits, a), c(kind, bits, b)
    exact = {"eq": x == y, "ne": x != y, "lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y}[
        op if op in ("eq", "ne") else op[1:]
    ]
    assert run(op, type_, a, b, "bool") is exact


@pytest.mark.parametrize("type_", TYPES)
def test_unary(type_):
    bits = int(type_[1:])
    for value in (0, 1, 5, 2 ** (bits - 1), 2**bits - 1):
        a = c(type_[0], bits, value)
        for op, exact in (("neg", -a), ("not", ~a)):
            got = body(f"%r: {type_} = {op} %a\nret %r", f"%a: {type_}", type_).call("f", a)
            assert got == c(type_[0], bits, exact)
        swapped = int.from_bytes(c("u", bits, a).to_bytes(bits // 8, "little"), "big")
        assert body(f"%r: {type_} = bswap %a\nret %r", f"%a: {type_}", type_).call("f", a) == c(type_[0], bits, swapped)


@pytest.mark.parametrize("to", TYPES)
@pytest.mark.parametrize("of", TYPES)
def test_conversions(of, to):
    low, high = int(of[1:]), int(to[1:])
    for value in (0, 1, 2 ** (low - 1), 2**low - 1, 0x55):
        a = c(of[0], low, value)
        for op, fits, exact in (
            ("zext", low < high, c("u", low, a)),
            ("sext", low < high, c("s", low, a)),
            ("trunc", low > high, a),
            ("retype", low == high, a),
        ):
            evaluator = body(f"%r: {to} = {op} %a\nret %r", f"%a: {of}", to)
            if fits:
                assert evaluator.call("f", a) == c(to[0], high, exact)
            else:
                fault("IR340", evaluator, b"", a)


def test_booleans():
    for a in (False, True):
        for b in (False, True):
            for op, exact in (("and", a and b), ("or", a or b), ("xor", a != b), ("eq", a == b), ("ne", a != b)):
                got = body(f"%r: bool = {op} %a, %b\nret %r", "%a: bool, %b: bool", "bool").call("f", a, b)
                assert got is exact
        assert body("%r: bool = not %a\nret %r", "%a: bool", "bool").call("f", a) is (not a)
        assert body("%r: u16 = zext %a\nret %r", "%a: bool", "u16").call("f", a) == int(a)


def test_the_documented_corner_cases():
    low = -(2**31)
    assert run("sdiv", "s32", low, -1) == low
    assert run("smod", "s32", low, -1) == 0
    assert run("sdiv", "s32", -7, 2) == -3 and run("smod", "s32", -7, 2) == -1
    assert run("smod", "s32", 7, -2) == 1
    assert run("udiv", "u64", 5, 0) == 0 and run("umod", "u64", 5, 0) == 5
    assert run("sdiv", "s64", 5, 0) == 0 and run("smod", "s64", -5, 0) == -5
    assert run("shl", "u32", 1, 33) == 2 and run("lshr", "u8", 0x80, 8) == 0x80


def test_constants_wrap_into_their_type():
    assert body("%r: u8 = const; value=-1\nret %r", "", "u8").call("f") == 255
    assert body("%r: s8 = const; value=255\nret %r", "", "s8").call("f") == -1
    assert body("%r: bool = const; value=1\nret %r", "", "bool").call("f") is True


def test_select():
    evaluator = body("%r: s8 = select %c, %a, %b\nret %r", "%c: bool, %a: s8, %b: s8", "s8")
    assert (evaluator.call("f", True, -1, 2), evaluator.call("f", False, -1, 2)) == (-1, 2)


def test_operands_of_two_types_are_refused():
    found = fault("IR340", body("%r: u32 = add %a, %b\nret %r", "%a: u32, %b: s32", "u32"), b"", 1, 2)
    assert "u32 and s32" in found.message
    fault("IR340", body("%r: bool = ult %a, %b\nret %r", "%a: bool, %b: bool", "bool"), b"", True, False)
