"""``match`` on numbers, truth values, text and tuples of those."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from osmia.compiler.ir import Block
from osmia.frontends.python import assign
from osmia.frontends.python.compare import compare
from osmia.frontends.python.conditions import branch, branch_operand
from osmia.frontends.python.function import MAYBE
from osmia.frontends.python.values import Const, Group, KPtr, Mem, Operand, Truth
from osmia.object.layout import Struct

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn


def match(fn: Fn, node: ast.Match) -> None:
    """``match subject: case ...``."""
    subject = fn.expr(node.subject)
    if isinstance(subject, Mem) and isinstance(subject.layout, Struct) and subject.layout.name == "tuple":
        from osmia.frontends.python.memory import as_group

        subject = as_group(fn, subject)
    (end,) = fn.blocks("matched")
    truths: set[object] = set()
    for case in node.cases:
        body, following = fn.blocks("case", "next")
        (guard,) = fn.blocks("guard") if case.guard is not None else (body,)
        pattern(fn, case.pattern, subject, node.subject, guard, following)
        if case.guard is not None and fn.reached(guard):
            fn.enter(guard)
            branch(fn, case.guard, body, following)
        if fn.reached(body):
            fn.enter(body)
            fn.body(case.body)
            if fn.live:
                fn.goto(end)
        if not fn.reached(following):
            break  # a case that always matches; Python allows it last only
        fn.enter(following)
        if isinstance(subject, Truth) and case.guard is None and isinstance(case.pattern, ast.MatchSingleton):
            truths.add(case.pattern.value)
            if truths >= {True, False}:
                fn.live = False  # there is no third truth value
                break
    else:
        fn.goto(end)
    fn.enter_if_reached(end)


def pattern(fn: Fn, node: ast.pattern, subject: Operand, owner: ast.expr, then: Block, other: Block) -> None:
    """Ends the block with a branch on whether the subject has the pattern; captures are bound on the way."""
    from osmia.frontends.python.tables import PATTERNS

    fn.fb.span = fn.span(node)
    PATTERNS[type(node)](fn, node, subject, owner, then, other)


def value_pattern(fn: Fn, node: ast.MatchValue, subject: Operand, owner: ast.expr, then: Block, other: Block) -> None:
    """``case 3``, ``case State.OPEN``."""
    if isinstance(subject, MAYBE):
        subject = fn.split(subject, other)
    value = fn.expr(node.value)
    if not isinstance(value, Const):
        raise fn.error("PY175", node, "a case is a constant", hint="test other values with if")
    branch_operand(fn, compare(fn, ast.Eq(), subject, value, owner, node.value), node.value, then, other)


def singleton_pattern(
    fn: Fn, node: ast.MatchSingleton, subject: Operand, owner: ast.expr, then: Block, other: Block
) -> None:
    """``case None``, ``case True``."""
    if node.value is None:
        if isinstance(subject, MAYBE):
            fn.split(subject, then)
            fn.goto(other)
        elif isinstance(subject, KPtr):
            from osmia.frontends.python.conditions import test_pointer

            test_pointer(fn, subject, owner, then)
            fn.goto(other)
        else:
            fn.goto(then if isinstance(subject, Const) and subject.value is None else other)
        return
    subject = fn.unwrap(subject, owner)
    known = fn.truth(subject, owner)
    if not _is_bool(subject):
        raise fn.error("PY175", node, f"{subject.describe()} is never {node.value}", hint="write case 1, or if x:")
    fn.condbr(known, then if node.value else other, other if node.value else then)


def _is_bool(operand: Operand) -> bool:
    return isinstance(operand, Truth) or (isinstance(operand, Const) and isinstance(operand.value, bool))


def as_pattern(fn: Fn, node: ast.MatchAs, subject: Operand, owner: ast.expr, then: Block, other: Block) -> None:
    """``case _``, ``case x``, ``case 1 | 2 as x``."""
    if node.pattern is not None:
        (inner,) = fn.blocks("as")
        pattern(fn, node.pattern, subject, owner, inner, other)
        if not fn.reached(inner):
            return
        fn.enter(inner)
    if node.name is not None:
        target = ast.copy_location(ast.Name(node.name, ast.Store()), node)
        assign.store_name(fn, target, subject, owner)
    fn.goto(then)


def or_pattern(fn: Fn, node: ast.MatchOr, subject: Operand, owner: ast.expr, then: Block, other: Block) -> None:
    """``case 1 | 2``."""
    for item in node.patterns[:-1]:
        (following,) = fn.blocks("or")
        pattern(fn, item, subject, owner, then, following)
        if not fn.reached(following):
            return
        fn.enter(following)
    pattern(fn, node.patterns[-1], subject, owner, then, other)


def sequence_pattern(
    fn: Fn, node: ast.MatchSequence, subject: Operand, owner: ast.expr, then: Block, other: Block
) -> None:
    """``case (1, x)`` for a tuple subject."""
    subject = fn.unwrap(subject, owner)
    if isinstance(subject, Const) and isinstance(subject.value, tuple):
        subject = Group([Const(item) for item in subject.value])
    if not isinstance(subject, Group):
        raise fn.error("PY175", node, f"{subject.describe()} is no tuple")
    if any(isinstance(item, ast.MatchStar) for item in node.patterns):
        from osmia.frontends.python.tables import PATTERNS

        PATTERNS[ast.MatchStar](fn, next(item for item in node.patterns if isinstance(item, ast.MatchStar)))
    if len(node.patterns) != len(subject.items):
        fn.goto(other)
        return
    for item, part in zip(node.patterns, subject.items, strict=True):
        (following,) = fn.blocks("part")
        pattern(fn, item, part, owner, following, other)
        if not fn.reached(following):
            return
        fn.enter(following)
    fn.goto(then)
