"""Loop bodies and functions that a helper calls back: functions of their own that share the caller's variables.

A loop body becomes a callback. The variables it uses travel in a *frame* on the caller's stack: numbers and pointers
by value,
copied in when the body starts and out when it ends; structs and text by their address.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from typing import Any

from osmia.compiler.ir import FUNC_REF, Function, Local, Ptr, Space, Value
from osmia.frontends.python.function import Fn, Loop, Scope
from osmia.frontends.python.numbers import convert
from osmia.frontends.python.slots import (
    AliasSlot,
    BoolSlot,
    ConstSlot,
    ContextSlot,
    Flow,
    GroupSlot,
    MapSlot,
    NumSlot,
    OptionalSlot,
    OwnSlot,
    PointerSlot,
    RefSlot,
    RemoteSlot,
    Slot,
    Variable,
)
from osmia.frontends.python.values import Const, Mem, Num, Operand, Truth
from osmia.object.layout import BOOL, S64, U64, Int, Layout, Struct

RUNNING, BREAK, RETURN, FAULT = range(4)


class Leaf:
    """One number or pointer in a frame.

    :ivar outside: gives its value before the helper is called. :ivar local: the caller's local to update, if any.
    :ivar inside: the callback's local.
    """

    __slots__ = ("inside", "local", "name", "outside", "type")

    def __init__(self, name: str, type: Any, outside: Callable[[], Value], local: Local | None) -> None:
        self.name = name
        self.type = type
        self.outside = outside
        self.local = local
        self.inside: Local


class Frame:
    """The frame of one loop."""

    def __init__(self, fn: Fn, nodes: list[ast.stmt], node: ast.stmt) -> None:
        from osmia.frontends.python.loops import assigned_names

        self.fn = fn
        self.node = node
        self.assigned = assigned_names(nodes)
        used = {item.id for statement in nodes for item in ast.walk(statement) if isinstance(item, ast.Name)}
        self.captured = [
            variable
            for name, variable in fn.scope.variables.items()
            if name in used and variable.slot is not None and variable in fn.flow.bound
        ]
        self.kept: list[Leaf] = []
        self.leaves: list[tuple[Leaf, str]] = []
        self.layout: Struct
        self.memory: Value
        self.exits: set[int] = set()
        self.returned: list[Int] = []
        self.returned_bool = False

    def keep(self, name: str, number: Num) -> Leaf:
        """A number of the caller that the body's entry needs."""
        local = self.fn.fb.local(name, number.type)
        self.fn.fb.set(local, number.value)
        leaf = Leaf(name, number.type, lambda: self.fn.fb.get(local), None)
        self.kept.append(leaf)
        return leaf

    # -- the body ---------------------------------------------------------------------------------------------------

    def compile(
        self, params: list[tuple[str, Any]], enter: Callable[[Fn, list[Value]], None], body: list[ast.stmt]
    ) -> Value:
        """Compiles the body; gives the callback's address, with the frame filled."""
        unit = self.fn.unit
        for _ in range(8):
            errors, prints, functions = list(unit.errors), list(unit.prints), dict(unit.module.functions)
            inner, clones = self._attempt(params, enter, body)
            if not self._settle(clones):
                break
            # A variable that was None so far got its type in the body: now that it is known, once more.
            unit.errors[:] = errors
            unit.prints[:] = prints
            unit.module.functions.clear()
            unit.module.functions.update(functions)
        name = unit.function_name(f"{self.fn.ir.name}_loop")
        inner.ir.name = name
        unit.module.functions[name] = inner.ir
        self._fill()
        return self.fn.fb.emit("func.addr", type=FUNC_REF, function=name)

    def _attempt(
        self, params: list[tuple[str, Any]], enter: Callable[[Fn, list[Value]], None], body: list[ast.stmt]
    ) -> tuple[Fn, dict[Variable, Variable]]:
        fn = self.fn
        values = [Value(name, kind) for name, kind in params]
        self.layout = Struct.of("frame", [("exit", U64), ("ret", U64)])
        frame = Value("frame", Ptr(Space.STACK, self.layout))
        ir = Function(f"{fn.ir.name}_loop", [*values, frame], S64, kind="callback", span=fn.span(self.node))
        inner = Fn(fn.unit, ir, fn.program, fn.context_type)
        inner.scope = self._scope()
        inner.fb.span = fn.fb.span
        inner.flow = Flow()
        self.leaves = [(leaf, "") for leaf in self.kept]
        for leaf in self.kept:
            leaf.inside = inner.fb.local(leaf.name, leaf.type)
        clones = self._clone_variables(inner)
        self._clone_context(inner)
        fields: list[tuple[str, Layout]] = [("exit", U64), ("ret", U64)]
        for index, (leaf, _) in enumerate(self.leaves):
            fields.append((f"v{index}", U64 if isinstance(leaf.type, Ptr) else leaf.type))
        self.layout = Struct.of("frame", fields)
        frame.type = Ptr(Space.STACK, self.layout)
        for index, (leaf, _) in enumerate(self.leaves):
            inner.fb.set(leaf.inside, inner.load(self._slot(inner, frame, index), leaf.type))
        self.exits, self.returned = set(), []
        inner.scope.loops = [Loop(lambda: self._leave(inner, frame, BREAK), lambda: self._leave(inner, frame, RUNNING))]
        inner.scope.on_return = lambda operand, node: self._return(inner, frame, operand, node)
        inner.on_fault = lambda: self._leave(inner, frame, FAULT)
        enter(inner, values)
        inner.body(body)
        if inner.live:
            self._leave(inner, frame, RUNNING)
        inner.close()
        return inner, clones

    def _scope(self) -> Scope:
        scope = copy.copy(self.fn.scope)
        scope.variables = dict(scope.variables)
        scope.poisoned = set(scope.poisoned)
        return scope

    def _clone_variables(self, inner: Fn) -> dict[Variable, Variable]:
        clones: dict[Variable, Variable] = {}
        for name, variable in list(inner.scope.variables.items()):
            if variable not in self.captured:
                del inner.scope.variables[name]  # not bound before the loop: the body has its own
                continue
            assert variable.slot is not None
            clone = Variable(name, variable.span)
            clone.slot = self._clone(inner, name, variable.slot)
            inner.scope.variables[name] = clone
            inner.flow.bound.add(clone)
            clones[variable] = clone
            if variable in self.fn.flow.gone:
                inner.flow.gone[clone] = self.fn.flow.gone[variable]
        return clones

    def _clone(self, inner: Fn, name: str, slot: Slot) -> Slot:
        fb = inner.fb
        if isinstance(slot, ConstSlot):
            return slot
        if isinstance(slot, AliasSlot):
            return self._clone_alias(inner, name, slot)
        if isinstance(slot, OwnSlot):
            remote = RemoteSlot(inner, name, slot.layout)
            leaf = Leaf(name, Ptr(Space.STACK, slot.layout), lambda: slot.pointer_value(self.fn), None)
            leaf.inside = remote.pointer
            self.leaves.append((leaf, name))
            return remote
        if isinstance(slot, GroupSlot):
            return GroupSlot([self._clone(inner, name, part) for part in slot.slots])
        made = copy.copy(slot)
        if isinstance(slot, OptionalSlot):
            assert isinstance(made, OptionalSlot)
            made.flag = fb.local(f"{name}.there", BOOL)
            self._leaf(name, slot.flag, made.flag)
            if slot.inner is not None:
                made.inner = self._clone(inner, name, slot.inner)
            known = self.fn.flow.there.get(slot)
            if known is not None and name not in self.assigned:
                inner.flow.there[made] = known
            return made
        assert isinstance(slot, (NumSlot, BoolSlot, RefSlot, PointerSlot, MapSlot, ContextSlot))
        assert isinstance(made, (NumSlot, BoolSlot, RefSlot, PointerSlot, MapSlot, ContextSlot))
        made.local = fb.local(name, slot.local.type)
        self._leaf(name, slot.local, made.local)
        return made

    def _clone_alias(self, inner: Fn, name: str, slot: AliasSlot) -> Slot:
        operand = slot.operand
        if not isinstance(operand, Mem):
            raise self.fn.error(
                "PY124", self.node, f"the list '{name}' needs a variable of its own to be used in this loop"
            )
        made: RemoteSlot | RefSlot
        if operand.space is Space.STACK:
            made = RemoteSlot(inner, name, operand.layout)
            inside = made.pointer
        else:
            made = RefSlot(inner, name, operand)
            inside = made.local
        leaf = Leaf(name, operand.ptr.type, lambda: operand.ptr, None)
        leaf.inside = inside
        self.leaves.append((leaf, name))
        return made

    def _leaf(self, name: str, outside: Local, inside: Local) -> None:
        leaf = Leaf(name, outside.type, lambda: self.fn.fb.get(outside), outside)
        leaf.inside = inside
        self.leaves.append((leaf, name))

    def _clone_context(self, inner: Fn) -> None:
        if not self.fn.has_context():
            return
        inner.context_local = inner.fb.local("ctx", self.fn.context_type)
        leaf = Leaf("ctx", self.fn.context_type, self.fn.context_value, None)
        leaf.inside = inner.context_local
        self.leaves.append((leaf, ""))

    def _settle(self, clones: dict[Variable, Variable]) -> bool:
        """Gives the caller's variables the types that the body found; whether there were any."""
        found = False
        for variable, clone in clones.items():
            assert variable.slot is not None
            assert clone.slot is not None
            for outer, inner in zip(variable.slot.parts(), clone.slot.parts(), strict=False):
                both = isinstance(outer, OptionalSlot) and isinstance(inner, OptionalSlot)
                if both and outer.inner is None and inner.inner is not None:  # type: ignore[attr-defined]
                    outer.inner = _same_kind(self.fn, variable.name, inner.inner)  # type: ignore[attr-defined]
                    found = True
                    break
        return found

    # -- the frame in memory ----------------------------------------------------------------------------------------

    def _slot(self, fn: Fn, frame: Value, index: int) -> Value:
        field = self.layout.fields[index + 2]
        pointer = fn.fb.emit("field", frame, type=Ptr(Space.STACK, field.type), offset=field.offset, name=field.name)
        leaf = self.leaves[index][0]
        if isinstance(leaf.type, Ptr):
            return fn.fb.emit("cast.ptr", pointer, type=Ptr(Space.STACK, leaf.type))
        return pointer

    def _part(self, fn: Fn, frame: Value, name: str) -> Value:
        field = self.layout.field(name)
        assert field is not None
        return fn.fb.emit("field", frame, type=Ptr(Space.STACK, field.type), offset=field.offset, name=name)

    def _fill(self) -> None:
        fn = self.fn
        local = fn.fb.local("frame", self.layout)
        self.memory = fn.fb.addr(local, Ptr(Space.STACK, self.layout))
        fn.fb.emit("zero", self.memory, size=self.layout.size)
        for index, (leaf, _) in enumerate(self.leaves):
            fn.store(self._slot(fn, self.memory, index), leaf.outside())

    def pointer(self) -> Value:
        """The frame's address, for the helper."""
        return self.memory

    # -- leaving the body -------------------------------------------------------------------------------------------

    def _leave(self, inner: Fn, frame: Value, code: int) -> None:
        for index, (leaf, name) in enumerate(self.leaves):
            if leaf.local is not None and name in self.assigned:
                inner.store(self._slot(inner, frame, index), inner.fb.get(leaf.inside))
        if code != RUNNING:
            inner.store(self._part(inner, frame, "exit"), inner.const(code, U64))
        self.exits.add(code)
        inner.fb.emit("ret", inner.const(0 if code == RUNNING else 1, S64))
        inner.live = False

    def _return(self, inner: Fn, frame: Value, operand: Operand | None, node: ast.AST) -> None:
        if operand is not None:
            number = inner.as_number(inner.unwrap(operand, node), node)
            if isinstance(number, Num):
                kind = number.type
            elif isinstance(number, Const) and not isinstance(number.value, bool):
                kind = inner.literal_type(int(number.value), node)
            else:
                kind = Int(8)
                self.returned_bool = True
            self.returned.append(kind)
            wide = inner.to_int(number, S64 if kind.signed else U64, node)
            if kind.signed:
                wide = inner.fb.emit("retype", wide, type=U64)
            inner.store(self._part(inner, frame, "ret"), wide)
        self._leave(inner, frame, RETURN)

    def finish(self, result: Value, orelse: list[ast.stmt]) -> None:
        """After the helper: takes the variables back, then goes where the body wanted to."""
        from osmia.frontends.python.loops import forget

        fn = self.fn
        for index, (leaf, name) in enumerate(self.leaves):
            if leaf.local is not None and name in self.assigned:
                fn.fb.set(leaf.local, fn.load(self._slot(fn, self.memory, index), leaf.type))
        forget(fn, self.assigned)
        (end,) = fn.blocks("endfor")
        if self.exits & {BREAK, RETURN, FAULT}:
            code = fn.load(self._part(fn, self.memory, "exit"), U64)
            for wanted, action in ((FAULT, self._fault), (RETURN, self._returned)):
                if wanted in self.exits:
                    left, following = fn.blocks("left", "next")
                    fn.condbr(fn.compare("eq", code, fn.const(wanted, U64)), left, following)
                    fn.enter(left)
                    action()
                    fn.enter(following)
            if BREAK in self.exits and orelse:
                (done,) = fn.blocks("done")
                fn.condbr(fn.compare("eq", code, fn.const(BREAK, U64)), end, done)
                fn.enter(done)
        fn.body(orelse)
        if fn.live:
            fn.goto(end)
        fn.enter_if_reached(end)

    def _fault(self) -> None:
        self.fn.abort()

    def _returned(self) -> None:
        fn = self.fn
        operand: Operand | None = None
        if self.returned:
            from osmia.frontends.python.numbers import join

            kind = self.returned[0]
            for other in self.returned[1:]:
                kind = join(kind, other)
            value = fn.load(self._part(fn, self.memory, "ret"), U64)
            if self.returned_bool and all(item.bits == 8 for item in self.returned):
                operand = Truth(fn.compare("ne", value, fn.const(0, U64)))
            else:
                operand = Num(convert(fn, value, U64, kind), kind)
        fn.scope.on_return(operand, self.node)
        fn.live = False


def _same_kind(fn: Fn, name: str, slot: Slot) -> Slot:
    """A slot of the same kind in another function."""
    if isinstance(slot, ConstSlot):
        return slot
    if isinstance(slot, RemoteSlot):
        return OwnSlot(fn, name, slot.layout)
    if isinstance(slot, GroupSlot):
        return GroupSlot([_same_kind(fn, name, part) for part in slot.slots])
    made = copy.copy(slot)
    if isinstance(made, OptionalSlot):
        made.flag = fn.fb.local(f"{name}.there", BOOL)
        made.inner = None if made.inner is None else _same_kind(fn, name, made.inner)
    elif isinstance(made, (NumSlot, BoolSlot, RefSlot, PointerSlot, MapSlot, ContextSlot, OwnSlot)):
        made.local = fn.fb.local(name, made.local.type)
    return made
