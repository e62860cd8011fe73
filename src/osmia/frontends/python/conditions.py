"""Truth: branches on conditions, with what each side then knows."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from osmia.compiler.ir import Block, KType, Ptr, Space, Value
from osmia.frontends.python.function import MAYBE
from osmia.frontends.python.values import (
    Const,
    Group,
    KPlace,
    KPtr,
    Maybe,
    Mem,
    Nothing,
    Num,
    Operand,
    Truth,
)
from osmia.lang.maps import MapDecl
from osmia.lang.program import Option, Var
from osmia.object.layout import BOOL, U8, U64, Char

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn


def branch(fn: Fn, node: ast.expr, then: Block, other: Block) -> None:
    """Ends the block with a branch on an expression; both sides know what follows from it."""
    fn.fb.span = fn.span(node)
    if isinstance(node, ast.BoolOp):
        _bool_op(fn, node, then, other)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        branch(fn, node.operand, other, then)
    elif isinstance(node, ast.Compare):
        from osmia.frontends.python.compare import branch_compare

        branch_compare(fn, node, then, other)
    else:
        branch_operand(fn, fn.expr(node), node, then, other)


def _bool_op(fn: Fn, node: ast.BoolOp, then: Block, other: Block) -> None:
    both = isinstance(node.op, ast.And)
    for item in node.values[:-1]:
        (following,) = fn.blocks("and" if both else "or")
        branch(fn, item, following if both else then, other if both else following)
        if not fn.reached(following):
            return  # a constant decided it
        fn.enter(following)
    branch(fn, node.values[-1], then, other)


def branch_operand(fn: Fn, operand: Operand, node: ast.expr, then: Block, other: Block) -> None:
    """Ends the block with a branch on an operand."""
    if isinstance(operand, MAYBE):
        inner = fn.split(operand, other)
        remember(fn, node, inner)
        branch_operand(fn, inner, node, then, other)
        return
    if isinstance(operand, KPtr):
        tested = test_pointer(fn, operand, node, other)
        remember(fn, node, tested)
        fn.goto(then)
        return
    known = static_truth(fn, operand, node)
    if known is not None:
        fn.goto(then if known else other)
        return
    fn.condbr(truth(fn, operand, node), then, other)


def test_pointer(fn: Fn, operand: KPtr, node: ast.AST, missing: Block) -> KPtr:
    """Goes on where a kernel pointer is not null; gives the tested pointer."""
    assert isinstance(operand.value.type, Ptr)
    kind = operand.value.type
    if kind.space in (Space.KERNEL, Space.USER):
        number = fn.fb.emit("ptr.to.int", operand.value, type=U64)
        (there,) = fn.blocks("there")
        fn.condbr(fn.compare("ne", number, fn.const(0, U64)), there, missing)
        fn.enter(there)
        return operand
    (there,) = fn.blocks("there")
    fn.note(there)
    fn.note(missing)
    tested = fn.fb.emit("br.nonnull", operand.value, type=kind.nonnull(), then=there.label, other=missing.label)
    fn.enter(there)
    return KPtr(tested, operand.to)


def remember(fn: Fn, node: ast.expr, inner: Operand) -> None:
    """Keeps a tested pointer in the variable that was tested, so that the kernel sees the test."""
    if isinstance(node, ast.NamedExpr):
        node = node.target
    if not isinstance(node, ast.Name) or not isinstance(inner, KPtr):
        return
    variable = fn.scope.variables.get(node.id)
    from osmia.frontends.python.slots import OptionalSlot, PointerSlot

    if variable is None or variable.slot is None:
        return
    slot = variable.slot.inner if isinstance(variable.slot, OptionalSlot) else variable.slot
    if isinstance(slot, PointerSlot) and slot.accepts(inner):
        slot.store(fn, inner, node)


def static_truth(fn: Fn, operand: Operand, node: ast.AST) -> bool | None:
    """The truth of an operand that is known while compiling."""
    if isinstance(operand, Const):
        value = operand.value
        if isinstance(value, (Option, Var, MapDecl)) or type(value).__name__ == "KernelName":
            if isinstance(value, (Var, MapDecl)):
                raise fn.error(
                    "PY113", node, f"{value!r} as a condition is always true",
                    hint="test its value: `x.value`" if isinstance(value, Var) else "test an entry: `k in m`",
                )  # fmt: skip
            return None
        return bool(value)
    if isinstance(operand, Group):
        return bool(operand.items)
    if isinstance(operand, Mem) and not isinstance(operand.layout, Char):
        return True
    if isinstance(operand, KPlace) and isinstance(operand.type, KType):
        return True
    return None


def truth(fn: Fn, operand: Operand, node: ast.AST) -> Value:
    """Whether the operand is true, as an IR bool.

    :raises CompileError: PY113 when it has no truth value.
    """
    if isinstance(operand, (*MAYBE, KPtr)):
        return _joined(fn, operand, node)
    known = static_truth(fn, operand, node)
    if known is not None:
        return fn.const(int(known), BOOL)
    if isinstance(operand, Truth):
        return operand.value
    if isinstance(operand, Num):
        return fn.compare("ne", operand.value, fn.const(0, operand.type))
    if isinstance(operand, Const) and isinstance(operand.value, Option):
        from osmia.frontends.python.globals import option_place

        return truth(fn, option_place(fn, operand.value).read(fn), node)
    if isinstance(operand, Mem) and isinstance(operand.layout, Char):
        first = fn.fb.emit("cast.ptr", operand.ptr, type=Ptr(operand.space, U8))
        return fn.compare("ne", fn.load(first, U8), fn.const(0, U8))
    if isinstance(operand, KPlace):
        from osmia.frontends.python.kernel_fields import materialize

        return truth(fn, materialize(fn, operand, node), node)
    if isinstance(operand, Nothing):
        raise fn.error("PY113", node, "this call has no result to test")
    raise fn.error("PY113", node, f"{operand.describe()} has no truth value")


def _joined(fn: Fn, operand: Operand, node: ast.AST) -> Value:
    """The truth of something that needs a test of its own."""
    local = fn.fb.local("true", BOOL)
    yes, no, end = fn.blocks("yes", "no", "tested")
    branch_operand(fn, operand, node if isinstance(node, ast.expr) else ast.Constant(None), yes, no)
    for block, value in ((yes, 1), (no, 0)):
        fn.enter(block)
        fn.fb.set(local, fn.const(value, BOOL))
        fn.goto(end)
    fn.enter(end)
    return fn.fb.get(local)


def flag_of(fn: Fn, operand: Operand, node: ast.AST) -> Value:
    """Whether something that may be ``None`` is there, as an IR bool."""
    if isinstance(operand, Maybe):
        return operand.flag
    local = fn.fb.local("there", BOOL)
    missing, end = fn.blocks("missing", "tested")
    fn.split(operand, missing)
    fn.fb.set(local, fn.true())
    fn.goto(end)
    fn.enter(missing)
    fn.fb.set(local, fn.false())
    fn.goto(end)
    fn.enter(end)
    return fn.fb.get(local)


def value_of(fn: Fn, node: ast.expr) -> Truth | Const:
    """A condition as a value: ``a < b < c``, ``not x``, ``k in m``."""
    yes, no, end = fn.blocks("yes", "no", "tested")
    branch(fn, node, yes, no)
    if not fn.reached(no):
        fn.enter(yes)
        return Const(True)
    if not fn.reached(yes):
        fn.enter(no)
        return Const(False)
    local = fn.fb.local("cond", BOOL)
    for block, value in ((yes, 1), (no, 0)):
        fn.enter(block)
        fn.fb.set(local, fn.const(value, BOOL))
        fn.goto(end)
    fn.enter(end)
    return Truth(fn.fb.get(local))
