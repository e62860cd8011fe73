"""Where several ways of a function meet with a value each: conditional expressions, ``or``, returns of inlined
functions."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from osmia.compiler.ir import Block
from osmia.frontends.python.function import MAYBE
from osmia.frontends.python.numbers import as_number, join, literal_join
from osmia.frontends.python.slots import (
    BoolSlot,
    Flow,
    NumSlot,
    OptionalSlot,
    OwnSlot,
    Slot,
    memory_layout,
    new_slot,
)
from osmia.frontends.python.values import Const, Group, Items, KPlace, Mem, Nothing, Num, Operand, Truth
from osmia.lang.types import KernelName
from osmia.object.layout import S64, Bytes, Char, Int

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn


class _Arm:
    __slots__ = ("block", "flow", "live", "node", "operand")

    def __init__(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        self.block: Block = fn.fb.block
        self.flow: Flow = fn.flow
        self.live = fn.live
        self.operand = operand
        self.node = node


class Join:
    """Collects the values of several ways, then makes one of them.

    :ivar arms: the ways so far; their blocks stay open until :meth:`finish` knows the common type.
    """

    def __init__(self, fn: Fn, node: ast.AST) -> None:
        self.fn = fn
        self.node = node
        self.arms: list[_Arm] = []
        (self.end,) = fn.blocks("join")

    def add(self, operand: Operand, node: ast.AST | None = None) -> None:
        """The value of the way that ends here."""
        fn = self.fn
        if isinstance(operand, Const) and isinstance(operand.value, KernelName):
            operand = as_number(fn, operand, node or self.node)
        self.arms.append(_Arm(fn, operand, node or self.node))
        fn.live = False

    def finish(self) -> Operand:
        """Goes on where all ways meet, with their common value."""
        fn = self.fn
        if not self.arms:
            fn.enter(self.end)
            return Const(None)
        if len(self.arms) == 1:
            self._resume(self.arms[0])
            return self.arms[0].operand
        if all(isinstance(arm.operand, Nothing) for arm in self.arms):
            for arm in self.arms:
                self._resume(arm)
                fn.goto(self.end)
            fn.enter(self.end)
            return Nothing()
        slot = self._slot()
        for arm in self.arms:
            self._resume(arm)
            if not slot.accepts(arm.operand):
                raise fn.error(
                    "PY210", arm.node, f"this is {arm.operand.describe()}, and another way here gives {slot.text()}",
                    hint="all ways must give one type",
                )  # fmt: skip
            slot.store(fn, arm.operand, arm.node)
            fn.goto(self.end)
        fn.enter(self.end)
        for part in slot.parts():
            if isinstance(part, OptionalSlot):
                fn.flow.there.pop(part, None)
        result = slot.load(fn, "this")
        if isinstance(result, Mem):
            result.owned = False  # no variable has it yet
        return result

    def _resume(self, arm: _Arm) -> None:
        fn = self.fn
        fn.fb.block, fn.flow, fn.live = arm.block, arm.flow, arm.live

    def _slot(self) -> Slot:
        """A slot that takes the values of all ways."""
        fn = self.fn
        operands = [arm.operand for arm in self.arms]
        first = self.arms[0]
        before = (fn.fb.block, fn.flow, fn.live)
        self._resume(first)
        try:
            return self._common(operands)
        finally:
            fn.fb.block, fn.flow, fn.live = before

    def _common(self, operands: list[Operand]) -> Slot:
        fn = self.fn
        plain = [item for item in operands if not (isinstance(item, Const) and item.value is None)]
        if len(plain) < len(operands) or any(isinstance(item, MAYBE) for item in operands):
            return OptionalSlot(fn, "value", None)
        if all(_boolean(item) for item in operands):
            return BoolSlot(fn, "value")
        if all(_numeric(item) for item in operands):
            return NumSlot(fn, "value", self._number_type(operands))
        if all(_textual(item) for item in operands):
            sizes = [_text_size(item) for item in operands]
            if any(_is_bytes(item) for item in operands):
                return OwnSlot(fn, "value", Bytes(max(sizes)))
            return OwnSlot(fn, "value", Char(max(1, *sizes)))
        owned = [item for item in operands if isinstance(item, Mem) and item.owned]
        if owned and isinstance(operands[0], Mem):
            return OwnSlot(fn, "value", operands[0].layout)
        if isinstance(operands[0], (Group, Items)) and not isinstance(operands[0], Group):
            raise fn.error("PY210", self.node, "a list needs a variable of its own")
        return new_slot(fn, "value", operands[0], self.node)

    def _number_type(self, operands: list[Operand]) -> Int:
        found: Int | None = None
        for item in operands:
            if isinstance(item, Num):
                found = item.type if found is None else join(found, item.type)
        if found is None:
            return S64
        for item in operands:
            if isinstance(item, Const):
                found = literal_join(self.fn, int(item.value), found, self.node)
        return found


def _boolean(operand: Operand) -> bool:
    return isinstance(operand, Truth) or (isinstance(operand, Const) and isinstance(operand.value, bool))


def _numeric(operand: Operand) -> bool:
    return isinstance(operand, (Num, Truth)) or (isinstance(operand, Const) and isinstance(operand.value, int))


def _textual(operand: Operand) -> bool:
    if isinstance(operand, Const):
        return isinstance(operand.value, (str, bytes))
    return isinstance(operand, (Mem, KPlace)) and isinstance(memory_layout(operand), (Char, Bytes))


def _is_bytes(operand: Operand) -> bool:
    if isinstance(operand, Const):
        return isinstance(operand.value, bytes)
    return isinstance(operand, (Mem, KPlace)) and isinstance(memory_layout(operand), Bytes)


def _text_size(operand: Operand) -> int:
    if isinstance(operand, Const):
        raw = operand.value.encode() if isinstance(operand.value, str) else operand.value
        return len(raw)
    assert isinstance(operand, (Mem, KPlace))
    layout = memory_layout(operand)
    return layout.size if layout is not None else 0
