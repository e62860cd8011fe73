"""Comparisons: numbers by their mathematical value, text, pointers, ``None``, membership."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import Block, Value
from osmia.frontends.python import strings
from osmia.frontends.python.conditions import branch_operand, flag_of, remember, test_pointer
from osmia.frontends.python.function import MAYBE
from osmia.frontends.python.globals import contains
from osmia.frontends.python.numbers import as_number, convert, in_type, join, to_int
from osmia.frontends.python.values import Const, Group, InnerMap, KPlace, KPtr, Mem, Num, Operand, Truth
from osmia.lang.maps import Bloom, MapDecl
from osmia.lang.types import KernelName
from osmia.object.layout import BOOL, S64, U8, U64, Bytes, Char, Int

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn

_PYTHON: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
_NAMES = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}
_MIRROR = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
_SEQUENCES = (tuple, list, set, frozenset, range, dict)


def branch_compare(fn: Fn, node: ast.Compare, then: Block, other: Block) -> None:
    """Ends the block with a branch on a comparison; each operand of a chain is evaluated once."""
    left_node: ast.expr = node.left
    left = fn.expr(left_node)
    for index, (op, right_node) in enumerate(zip(node.ops, node.comparators, strict=True)):
        last = index == len(node.ops) - 1
        target = then
        if not last:
            (target,) = fn.blocks("chain")
        if isinstance(op, (ast.Is, ast.IsNot)) or _none(right_node) or _none(left_node):
            right = _branch_is(fn, op, left, left_node, right_node, target, other)
        elif isinstance(op, (ast.In, ast.NotIn)):
            inside = isinstance(op, ast.In)
            _branch_in(fn, left, left_node, right_node, target if inside else other, other if inside else target)
            right = left
        else:
            right = fn.expr(right_node)
            result = compare(fn, op, left, right, left_node, right_node)
            branch_operand(fn, result, node, target, other)
        if not last:
            if not fn.reached(target):
                return
            fn.enter(target)
            left, left_node = right, right_node


def _none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def compare_value(fn: Fn, node: ast.Compare) -> Operand:
    """A comparison as a value."""
    op = node.ops[0]
    simple = len(node.ops) == 1 and type(op) in _PYTHON and not _none(node.left) and not _none(node.comparators[0])
    if simple:
        left = fn.expr(node.left)
        return compare(fn, op, left, fn.expr(node.comparators[0]), node.left, node.comparators[0])
    from osmia.frontends.python.conditions import value_of

    return value_of(fn, node)


def _branch_is(
    fn: Fn, op: ast.cmpop, left: Operand, left_node: ast.expr, right_node: ast.expr, then: Block, other: Block
) -> Operand:
    if _none(left_node) and not _none(right_node):
        left, left_node, right_node = fn.expr(right_node), right_node, left_node
    if not isinstance(op, (ast.Is, ast.IsNot, ast.Eq, ast.NotEq)):
        raise fn.error("PY114", right_node, "None cannot be ordered, nor is it in anything")
    same = isinstance(op, (ast.Is, ast.Eq))
    if not _none(right_node):
        right = fn.expr(right_node)
        if isinstance(right, Const) and isinstance(right.value, bool) and isinstance(left, (Truth, Const)):
            result = compare(fn, ast.Eq() if same else ast.NotEq(), left, right, left_node, right_node)
            branch_operand(fn, result, right_node, then, other)
            return right
        raise fn.error(
            "PY114", right_node, "`is` compares with None, True or False only", hint="write == to compare values"
        )
    missing, there = (then, other) if same else (other, then)
    if isinstance(left, MAYBE):
        inner = fn.split(left, missing)
        remember(fn, left_node, inner)
        fn.goto(there)
    elif isinstance(left, KPtr):
        remember(fn, left_node, test_pointer(fn, left, left_node, missing))
        fn.goto(there)
    else:
        fn.goto(missing if isinstance(left, Const) and left.value is None else there)
    return Const(None)


# -- equality and order ---------------------------------------------------------------------------------------------


def compare(
    fn: Fn, op: ast.cmpop, left: Operand, right: Operand, left_node: ast.AST, right_node: ast.AST
) -> Truth | Const:
    """``left op right`` for ``==``, ``!=`` and the four orders."""
    left, right = fn.unwrap(left, left_node), fn.unwrap(right, right_node)
    if isinstance(left, Const) and isinstance(right, Const) and not _kernel(left, right):
        try:
            return Const(bool(_PYTHON[type(op)](left.value, right.value)))
        except TypeError as error:
            raise fn.error("PY107", left_node, f"these constants cannot be compared: {error}") from None
    if isinstance(left, Group) or isinstance(right, Group):
        return _compare_groups(fn, op, left, right, left_node, right_node)
    if strings.is_text(left) or strings.is_text(right):
        return strings.compare(fn, op, left, right, left_node, right_node)
    if isinstance(left, (KPtr, KPlace)) or isinstance(right, (KPtr, KPlace)):
        result = _compare_pointers(fn, op, left, right, left_node)
        if result is not None:
            return result
    a, b = as_number(fn, left, left_node), as_number(fn, right, right_node)
    return compare_numbers(fn, _NAMES[type(op)], a, b, left_node)


def _kernel(*operands: Const) -> bool:
    return any(isinstance(operand.value, KernelName) for operand in operands)


def _compare_groups(
    fn: Fn, op: ast.cmpop, left: Operand, right: Operand, left_node: ast.AST, right_node: ast.AST
) -> Truth | Const:
    groups = []
    for side, node in ((left, left_node), (right, right_node)):
        operand = side
        if isinstance(side, Const) and isinstance(side.value, tuple):
            operand = Group([Const(item) for item in side.value])
        if not isinstance(operand, Group) or not isinstance(op, (ast.Eq, ast.NotEq)):
            raise fn.error("PY115", node, "a tuple is compared with == or != with another tuple")
        groups.append(operand.items)
    if len(groups[0]) != len(groups[1]):
        return Const(isinstance(op, ast.NotEq))
    result: Value | None = None
    for a, b in zip(*groups, strict=True):
        equal = fn.truth(compare(fn, ast.Eq(), a, b, left_node, right_node), left_node)
        result = equal if result is None else fn.fb.emit("and", result, equal, type=BOOL)
    if result is None:
        return Const(isinstance(op, ast.Eq))
    return Truth(result if isinstance(op, ast.Eq) else fn.fb.emit("not", result, type=BOOL))


def _compare_pointers(fn: Fn, op: ast.cmpop, left: Operand, right: Operand, node: ast.AST) -> Truth | None:
    from osmia.frontends.python.kernel_fields import address, materialize

    sides = [materialize(fn, item, node) if isinstance(item, KPlace) else item for item in (left, right)]
    if strings.is_text(sides[0]) or strings.is_text(sides[1]):
        return strings.compare(fn, op, sides[0], sides[1], node, node)  # type: ignore[return-value]
    if not all(isinstance(item, (KPtr, KPlace)) for item in sides):
        return None
    if not isinstance(op, (ast.Eq, ast.NotEq)):
        raise fn.error("PY115", node, "pointers have no order", hint="addr(p) is the address as a number")
    a, b = (address(fn, item, node) for item in sides)
    return Truth(fn.compare(_NAMES[type(op)], a, b))


def compare_numbers(fn: Fn, name: str, left: Operand, right: Operand, node: ast.AST) -> Truth | Const:
    """Compares two numbers by value, whatever their types."""
    if isinstance(left, Const) and isinstance(right, Const):
        return Const(bool(getattr(operator, name)(left.value, right.value)))
    if isinstance(left, Truth) and isinstance(right, (Truth, Const)) and name in ("eq", "ne"):
        if isinstance(right, Truth):
            return Truth(fn.compare(name, left.value, right.value))
        if isinstance(right.value, bool):
            same = right.value is (name == "eq")
            return left if same else Truth(fn.fb.emit("not", left.value, type=BOOL))
    if isinstance(left, Const):
        return compare_numbers(fn, _MIRROR[name], right, left, node)
    left, right = _plain(fn, left, node), _plain(fn, right, node)
    assert isinstance(left, Num)
    if isinstance(right, Const):
        low, high = left.type.range()
        if not low <= right.value <= high:
            above = right.value > high
            return Const({"eq": False, "ne": True, "lt": above, "le": above}.get(name, not above))
        return _in_one_type(fn, name, left.value, in_type(fn, right, left.type, node), left.type)
    assert isinstance(right, Num)
    mixed = left.type.signed != right.type.signed
    if mixed and join(left.type, right.type) == U64:
        return _signed_unsigned(fn, name, left, right)
    meet = join(left.type, right.type)
    a, b = convert(fn, left.value, left.type, meet), convert(fn, right.value, right.type, meet)
    return _in_one_type(fn, name, a, b, meet)


def _plain(fn: Fn, operand: Operand, node: ast.AST) -> Operand:
    return Num(to_int(fn, operand, U8, node), U8) if isinstance(operand, Truth) else operand


def _in_one_type(fn: Fn, name: str, left: Value, right: Value, type: Int) -> Truth:
    row = name if name in ("eq", "ne") else ("s" if type.signed else "u") + name
    return Truth(fn.compare(row, left, right))


def _signed_unsigned(fn: Fn, name: str, left: Num, right: Num) -> Truth:
    """64 bits of different signs: a negative number is below every unsigned one."""
    if not left.type.signed:
        return _signed_unsigned(fn, _MIRROR[name], right, left)
    signed = convert(fn, left.value, left.type, S64)
    bits = fn.fb.emit("retype", signed, type=U64)
    other = convert(fn, right.value, right.type, U64)
    negative = fn.compare("slt", signed, fn.const(0, S64))
    row = name if name in ("eq", "ne") else "u" + name
    by_bits = fn.compare(row, bits, other)
    if name in ("lt", "le", "ne"):
        return Truth(fn.fb.emit("or", negative, by_bits, type=BOOL))
    return Truth(fn.fb.emit("and", fn.fb.emit("not", negative, type=BOOL), by_bits, type=BOOL))


# -- membership -----------------------------------------------------------------------------------------------------


def _branch_in(fn: Fn, left: Operand, left_node: ast.expr, right_node: ast.expr, then: Block, other: Block) -> None:
    left = fn.unwrap(left, left_node)
    if isinstance(right_node, (ast.Tuple, ast.List, ast.Set)):
        items = [fn.expr(item) for item in right_node.elts]
        _branch_items(fn, left, items, left_node, list(right_node.elts), then, other)
        return
    right = fn.value(right_node)
    if isinstance(right, Group):
        _branch_items(fn, left, right.items, left_node, [right_node] * len(right.items), then, other)
        return
    if isinstance(right, InnerMap) or (isinstance(right, Const) and isinstance(right.value, MapDecl)):
        from osmia.frontends.python import maps

        decl = right.decl if isinstance(right, InnerMap) else right.value
        if isinstance(decl, Bloom):
            branch_operand(fn, maps.bloom_contains(fn, decl, left, left_node), right_node, then, other)
        else:
            found = maps.lookup(fn, right, left, left_node, right_node)
            fn.split(found, other)
            fn.goto(then)
        return
    if isinstance(right, Const) and isinstance(right.value, _SEQUENCES):
        _branch_constant(fn, left, right.value, left_node, right_node, then, other)
        return
    if isinstance(right, Const) and isinstance(right.value, (str, bytes)) and isinstance(left, Const):
        fn.goto(then if contains(fn, right.value, left.value, left_node) else other)
        return
    hint = "`in` works with maps, tuples, sets, ranges and constant dicts"
    if strings.is_text(right):
        hint = "text is compared with == and startswith(); search in user space"
    raise fn.error("PY116", right_node, f"nothing can be looked up in {right.describe()}", hint=hint)


def _branch_items(
    fn: Fn, left: Operand, items: list[Operand], left_node: ast.AST, nodes: list[ast.expr], then: Block, other: Block
) -> None:
    for item, node in zip(items, nodes, strict=True):
        (following,) = fn.blocks("next")
        branch_operand(fn, compare(fn, ast.Eq(), left, item, left_node, node), node, then, following)
        if not fn.reached(following):
            return
        fn.enter(following)
    fn.goto(other)


def _branch_constant(
    fn: Fn, left: Operand, values: Any, left_node: ast.AST, node: ast.expr, then: Block, other: Block
) -> None:
    if isinstance(left, Const) and not isinstance(left.value, KernelName):
        fn.goto(then if contains(fn, values, left.value, left_node) else other)
        return
    if isinstance(values, range):
        _branch_range(fn, left, values, left_node, then, other)
        return
    items = list(values)
    if not isinstance(values, (tuple, list, dict)):
        items.sort(key=lambda item: (str(type(item)), item))
    if len(items) > 8 and all(isinstance(item, int) for item in items):
        number = as_number(fn, left, left_node)
        if isinstance(number, Num):
            low, high = number.type.range()
            cases = tuple((int(item), then.label) for item in dict.fromkeys(items) if low <= item <= high)
            fn.note(then)
            fn.note(other)
            fn.fb.emit("switch", number.value, cases=cases, default=other.label)
            fn.live = False
            return
    if len(items) > 256:
        raise fn.error("PY117", node, f"{len(items)} constants are too many to compare with", hint="use a hash map")
    _branch_items(fn, left, [Const(item) for item in items], left_node, [node] * len(items), then, other)


def _branch_range(fn: Fn, left: Operand, values: range, node: ast.AST, then: Block, other: Block) -> None:
    if not len(values):
        fn.goto(other)
        return
    number = as_number(fn, left, node)
    low, high = min(values), max(values)
    inside = fn.truth(compare_numbers(fn, "ge", number, Const(low), node), node)
    upper = fn.truth(compare_numbers(fn, "le", number, Const(high), node), node)
    result = fn.fb.emit("and", inside, upper, type=BOOL)
    step = abs(values.step)
    if step > 1:
        from osmia.frontends.python.numbers import binop

        rest = binop(fn, ast.Mod(), binop(fn, ast.Sub(), number, Const(low), node), Const(step), node)
        fits = fn.truth(compare_numbers(fn, "eq", as_number(fn, rest, node), Const(0), node), node)
        result = fn.fb.emit("and", result, fits, type=BOOL)
    fn.condbr(result, then, other)


def is_memory_text(operand: Operand) -> bool:
    """Whether an operand is text or bytes in memory."""
    return isinstance(operand, Mem) and isinstance(operand.layout, (Char, Bytes))


__all__ = ["branch_compare", "compare", "compare_numbers", "compare_value", "flag_of", "is_memory_text"]
