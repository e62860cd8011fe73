"""Statements that are no assignments and no loops."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from osmia.frontends.python import maps
from osmia.frontends.python.conditions import branch

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn


def pass_(fn: Fn, node: ast.Pass) -> None:
    """Nothing."""


def expression(fn: Fn, node: ast.Expr) -> None:
    """A call for its effect; a docstring.

    :raises CompileError: PY172 for an expression whose value nobody uses.
    """
    value = node.value
    if isinstance(value, ast.Constant) and isinstance(value.value, (str, type(...))):
        return
    if isinstance(value, (ast.Call, ast.NamedExpr)):
        fn.expr(value)
        return
    from osmia.frontends.python.tables import EXPRESSIONS

    EXPRESSIONS[type(value)](fn, value, None)  # what cannot be compiled at all is said first
    raise fn.error("PY172", node, "the value of this expression is not used", hint="assign it, or remove the line")


def if_(fn: Fn, node: ast.If) -> None:
    """``if``; a condition that is known while compiling leaves one side out, as ``#if`` does in C."""
    then, other, end = fn.blocks("then", "else", "endif")
    branch(fn, node.test, then, other)
    for block, body in ((then, node.body), (other, node.orelse)):
        if not fn.reached(block):
            continue
        fn.enter(block)
        fn.body(body)
        if fn.live:
            fn.goto(end)
    fn.enter_if_reached(end)


def return_(fn: Fn, node: ast.Return) -> None:
    """``return``."""
    operand = None if node.value is None else fn.expr(node.value, fn.scope.result)
    fn.scope.on_return(operand, node.value or node)
    fn.live = False


def delete(fn: Fn, node: ast.Delete) -> None:
    """``del m[k]``."""
    for target in node.targets:
        if isinstance(target, ast.Subscript) and not isinstance(target.slice, ast.Slice):
            base = fn.value(target.value)
            decl = maps.declaration(base)
            if decl is not None:
                maps.delete(fn, base, fn.expr(target.slice, decl.key_layout), target.slice, target)
                continue
        raise fn.error("PY173", target, "only entries of maps are deleted", hint="write del m[key]")


def assert_(fn: Fn, node: ast.Assert) -> None:
    """``assert``: where it fails, a run-time error."""
    if node.msg is not None and not (isinstance(node.msg, ast.Constant) and isinstance(node.msg.value, str)):
        raise fn.error("PY174", node.msg, "the message of an assertion is a literal text")
    then, failed = fn.blocks("holds", "fails")
    branch(fn, node.test, then, failed)
    if fn.reached(failed):
        fn.enter(failed)
        text = node.msg.value if isinstance(node.msg, ast.Constant) else "assertion failed"
        fn.fail(str(text), node)
    if fn.reached(then):
        fn.enter(then)
