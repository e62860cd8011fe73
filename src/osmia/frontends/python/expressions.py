"""Expressions that are no calls, names, attributes or elements."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from osmia.frontends.python import conditions, numbers
from osmia.frontends.python.compare import compare_value
from osmia.frontends.python.function import MAYBE
from osmia.frontends.python.joins import Join
from osmia.frontends.python.values import Const, Group, Items, KPtr, Num, Operand, Truth
from osmia.object.layout import BOOL, S64, Array, Layout, Struct

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn


def constant(fn: Fn, node: ast.Constant, want: Layout | None) -> Operand:
    """A literal."""
    if isinstance(node.value, complex) or node.value is Ellipsis:
        raise fn.error("PY170", node, f"{node.value!r} has no meaning in a kernel function", hint=None)
    return Const(node.value)


def bin_op(fn: Fn, node: ast.BinOp, want: Layout | None) -> Operand:
    """``a + b``."""
    left, right = fn.value(node.left), fn.value(node.right)
    if isinstance(node.op, ast.Mult):
        for items, times, place in ((left, right, node.right), (right, left, node.left)):
            if isinstance(items, Items):
                if not isinstance(times, Const) or not isinstance(times.value, int) or times.value < 1:
                    raise fn.error("PY124", place, "a list is repeated a constant number of times, at least once")
                return Items(items.items, items.times * int(times.value))
    if isinstance(left, Items) or isinstance(right, Items):
        raise fn.error("PY124", node, "lists are repeated with `*`, and that is all", hint="[0] * 16")
    return numbers.binop(fn, node.op, left, right, node, (node.left, node.right))


def unary_op(fn: Fn, node: ast.UnaryOp, want: Layout | None) -> Operand:
    """``-a``, ``+a``, ``~a``, ``not a``."""
    if isinstance(node.op, ast.Not):
        operand = fn.expr(node.operand)
        if isinstance(operand, (*MAYBE, KPtr)):
            return Truth(fn.fb.emit("not", conditions.truth(fn, operand, node.operand), type=BOOL))
        known = conditions.static_truth(fn, operand, node.operand)
        if known is not None:
            return Const(not known)
        return Truth(fn.fb.emit("not", fn.truth(operand, node.operand), type=BOOL))
    operand = fn.value(node.operand)
    if isinstance(node.op, ast.USub):
        return numbers.negate(fn, operand, node.operand)
    if isinstance(node.op, ast.Invert):
        return numbers.invert(fn, operand, node.operand)
    number = fn.as_number(operand, node.operand)
    if isinstance(number, Truth):
        return Num(fn.to_int(number, S64, node), S64)
    return Const(+number.value) if isinstance(number, Const) else number


def bool_op(fn: Fn, node: ast.BoolOp, want: Layout | None) -> Operand:
    """``a and b``, ``a or b``: the operand that decides, as in Python."""
    both = isinstance(node.op, ast.And)
    join = Join(fn, node)
    for item in node.values[:-1]:
        if isinstance(item, ast.Compare) or (isinstance(item, ast.UnaryOp) and isinstance(item.op, ast.Not)):
            # Its value is its truth, and what it says of names holds in what follows.
            going_on, deciding = fn.blocks("more", "decided")
            conditions.branch(fn, item, going_on if both else deciding, deciding if both else going_on)
            if fn.reached(deciding):
                fn.enter(deciding)
                join.add(Const(not both), item)
            if not fn.reached(going_on):
                return join.finish()
            fn.enter(going_on)
            continue
        operand = fn.expr(item)
        known = None if isinstance(operand, (*MAYBE, KPtr)) else conditions.static_truth(fn, operand, item)
        if known is not None:
            if known is both:
                continue  # this operand does not decide
            join.add(operand, item)
            return join.finish()
        _decide(fn, operand, item, both, join)
    join.add(fn.expr(node.values[-1], want), node.values[-1])
    return join.finish()


def _decide(fn: Fn, operand: Operand, node: ast.expr, both: bool, join: Join) -> None:
    """Adds the way on which ``operand`` is the result; goes on where it is not."""
    going_on, deciding = fn.blocks("more", "decided")
    if isinstance(operand, MAYBE):
        if both:
            (missing,) = fn.blocks("none")
            inner = fn.split(operand, missing)
            conditions.remember(fn, node, inner)
            conditions.branch_operand(fn, inner, node, going_on, deciding)
            fn.enter(missing)
            join.add(Const(None), node)
            if fn.reached(deciding):
                fn.enter(deciding)
                join.add(inner, node)
        else:
            inner = fn.split(operand, going_on)
            conditions.branch_operand(fn, inner, node, deciding, going_on)
            if fn.reached(deciding):
                fn.enter(deciding)
                join.add(inner, node)
        fn.enter(going_on)
        return
    if isinstance(operand, KPtr):
        raise fn.error("PY171", node, "a pointer as the result of and/or", hint="write `p is not None and ...`")
    value = fn.truth(operand, node)
    fn.condbr(value, going_on if both else deciding, deciding if both else going_on)
    fn.enter(deciding)
    join.add(operand, node)
    fn.enter(going_on)


def if_exp(fn: Fn, node: ast.IfExp, want: Layout | None) -> Operand:
    """``a if c else b``."""
    then, other = fn.blocks("then", "else")
    conditions.branch(fn, node.test, then, other)
    join = Join(fn, node)
    for block, arm in ((then, node.body), (other, node.orelse)):
        if fn.reached(block):
            fn.enter(block)
            join.add(fn.expr(arm, want), arm)
    return join.finish()


def compare(fn: Fn, node: ast.Compare, want: Layout | None) -> Operand:
    """``a < b``."""
    return compare_value(fn, node)


def tuple_display(fn: Fn, node: ast.Tuple, want: Layout | None) -> Operand:
    """``a, b``."""
    wants = _parts(want, len(node.elts))
    items = [fn.value(item, part) for item, part in zip(node.elts, wants, strict=True)]
    if items and all(isinstance(item, Const) for item in items):
        return Const(tuple(item.value for item in items if isinstance(item, Const)))
    return Group(items)


def _parts(want: Layout | None, count: int) -> list[Layout | None]:
    if isinstance(want, Struct) and len(want.fields) == count:
        return [item.type for item in want.fields]
    return [None] * count


def list_display(fn: Fn, node: ast.List, want: Layout | None) -> Operand:
    """``[a, b]``: becomes an array where it is stored."""
    part = want.element if isinstance(want, Array) else None
    return Items([fn.value(item, part) for item in node.elts])
