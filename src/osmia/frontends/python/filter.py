"""The process filter and ids in pid namespaces: calls of ``osmia.lang.prelude``, compiled into the program."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from osmia.frontends.python import inline
from osmia.frontends.python.numbers import to_int
from osmia.frontends.python.values import Num, Operand
from osmia.lang import prelude
from osmia.object.layout import U32, U64

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn


def _call(fn: Fn, name: str, operands: list[Operand], node: ast.AST) -> Operand:
    return inline.call_with(fn, getattr(prelude, name), operands, node)


def current_id(fn: Fn, process: bool, node: ast.AST) -> Num:
    """``pid()`` and ``tid()``."""
    ids = _call(fn, "ids_in_namespace", [], node)
    value = to_int(fn, ids, U64, node)
    if process:
        value = fn.fb.emit("lshr", value, fn.const(32, U64), type=U64)
    return Num(fn.fb.emit("trunc", value, type=U32), U32)


def selected(fn: Fn, tgid: Operand, node: ast.AST) -> Operand:
    """``selected(tgid)``."""
    fn.unit.filtered = True
    return _call(fn, "selects_process", [tgid], node)


def prologue(fn: Fn, node: ast.AST) -> None:
    """Ends the program where the filter does not let the current task through."""
    fn.unit.filtered = True
    result = _call(fn, "selects_current", [], node)
    go_on, stop = fn.blocks("selected", "filtered")
    fn.condbr(fn.truth(result, node), go_on, stop)
    fn.enter(stop)
    fn.on_fault()
    fn.live = False
    fn.enter(go_on)


def usdt_argument(fn: Fn, number: int, node: ast.AST) -> Operand:
    """One argument of a USDT probe."""
    from osmia.frontends.python.values import Const

    regs = Num(fn.fb.emit("ptr.to.int", fn.context_value(), type=U64), U64)
    return _call(fn, "usdt_argument", [regs, Const(number)], node)
