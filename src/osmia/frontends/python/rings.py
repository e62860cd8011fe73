"""Events: room in a ring buffer is filled in place and submitted; what did not fit is counted."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import Ptr, Space, Value
from osmia.frontends.python import assign, maps
from osmia.frontends.python.values import Const, Context, MaybePtr, Mem, Nothing, Operand, Truth
from osmia.lang import maps as M
from osmia.lang.types import IntObject
from osmia.object.layout import BOOL, S64, U64, Layout

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn


def _one(fn: Fn, node: ast.Call, name: str, count: int = 1) -> list[ast.expr]:
    from osmia.frontends.python.calls import arguments

    return arguments(fn, node, name, count, count)


def _reserve(fn: Fn, decl: M.Ring[Any], node: ast.AST) -> Value:
    kind = Ptr(Space.RING, decl.event_layout, True)
    return fn.fb.emit("ring.reserve", type=kind, map=fn.unit.map_name(fn, decl, node))


def reserve(fn: Fn, base: Operand, decl: M.Ring[Any], node: ast.Call, want: Layout | None) -> Operand:
    """``ring.reserve()``: zeroed room for one event; without room the loss is counted."""
    _one(fn, node, "reserve", 0)
    layout = decl.event_layout
    pointer = _reserve(fn, decl, node)
    there = fn.fb.local("reserved", BOOL)
    record = fn.fb.local("record", Ptr(Space.RING, layout))
    missing, end = fn.blocks("full", "reserved")
    found = fn.split(MaybePtr(pointer, lambda tested: Mem(tested, layout)), missing)
    assert isinstance(found, Mem)
    fn.fb.emit("zero", found.ptr, size=layout.size)
    fn.fb.set(record, found.ptr)
    fn.fb.set(there, fn.true())
    fn.goto(end)
    fn.enter(missing)
    fn.unit.count_cause(fn, decl.name)
    fn.fb.set(there, fn.false())
    fn.goto(end)
    fn.enter(end)
    from osmia.frontends.python.values import Maybe

    value = fn.fb.get(record)
    held = fn.hold(there, record)
    return Maybe(fn.fb.get(there), Mem(value, layout, root=(value, layout.size, 0), held=held))


def submit(fn: Fn, base: Operand, decl: M.Ring[Any], node: ast.Call, want: Layout | None) -> Operand:
    """``ring.submit(Event(...))`` or of a reserved record; whether there was room."""
    (item,) = _one(fn, node, "submit")
    layout = decl.event_layout
    if isinstance(item, ast.Call) and _pure(fn, item):
        from osmia.frontends.python.calls import constructed_layout

        if constructed_layout(fn, item) == layout:
            return _in_place(fn, decl, lambda pointer: assign.into(fn, item, pointer, layout), node)
    event = fn.value(item, layout)
    if not isinstance(event, Mem) or event.layout != layout:
        raise fn.error("PY123", item, f"ring {decl.name} carries {layout.name}, not {event.describe()}")
    if event.space is Space.RING:
        fn.fb.emit("ring.submit", event.ptr, flags=0)
        _give_away(fn, item, event, "it was submitted")
        return Const(True)
    return _in_place(fn, decl, lambda pointer: fn.write(pointer, layout, event, item), node)


def _in_place(fn: Fn, decl: M.Ring[Any], fill: Any, node: ast.AST) -> Operand:
    there = fn.fb.local("sent", BOOL)
    missing, end = fn.blocks("full", "sent")
    pointer = _reserve(fn, decl, node)
    found = fn.split(MaybePtr(pointer, lambda tested: Mem(tested, decl.event_layout)), missing)
    assert isinstance(found, Mem)
    fill(found.ptr)
    fn.fb.emit("ring.submit", found.ptr, flags=0)
    fn.fb.set(there, fn.true())
    fn.goto(end)
    fn.enter(missing)
    fn.unit.count_cause(fn, decl.name)
    fn.fb.set(there, fn.false())
    fn.goto(end)
    fn.enter(end)
    return Truth(fn.fb.get(there))


def _pure(fn: Fn, node: ast.Call) -> bool:
    """Whether the arguments of a constructor may be evaluated after room was reserved: nothing in them assigns, nor
    may it
    leave the program while the room is held."""
    return not any(
        isinstance(item, (ast.NamedExpr, ast.Subscript, ast.Await, ast.Yield))
        or (isinstance(item, ast.Call) and isinstance(item.func, ast.Attribute))
        or (isinstance(item, ast.Call) and item is not node and not _harmless(fn, item))
        for item in ast.walk(node)
    )


_WITH_EFFECT = frozenset(("print", "printk", "seq_print", "seq_write", "selected"))


def _harmless(fn: Fn, node: ast.Call) -> bool:
    """Whether a call only computes: conversions, Python's own functions, and what osmia provides for reading."""
    if not isinstance(node.func, ast.Name) or node.func.id in _WITH_EFFECT:
        return False
    callee = fn.peek(node.func.id)
    value = callee.value if isinstance(callee, Const) else None
    return isinstance(value, IntObject) or getattr(value, "__module__", "") in ("osmia.lang.builtins", "builtins")


def discard(fn: Fn, base: Operand, decl: M.Ring[Any], node: ast.Call, want: Layout | None) -> Operand:
    """``ring.discard(e)``."""
    (item,) = _one(fn, node, "discard")
    event = fn.value(item, decl.event_layout)
    if not isinstance(event, Mem) or event.space is not Space.RING or event.layout != decl.event_layout:
        raise fn.error("PY123", item, f"a record that {decl.name}.reserve() gave is needed, not {event.describe()}")
    fn.fb.emit("ring.discard", event.ptr, flags=0)
    _give_away(fn, item, event, "it was discarded")
    return Nothing()


def _give_away(fn: Fn, node: ast.expr, event: Mem, reason: str) -> None:
    held = event.held or (fn.holds[0] if len(fn.holds) == 1 else None)
    if held is not None:
        fn.fb.set(held.flag, fn.false())
    if isinstance(node, ast.Name):
        variable = fn.scope.variables.get(node.id)
        if variable is not None:
            fn.flow.gone[variable] = reason


def perf_submit(fn: Fn, base: Operand, decl: M.PerfRing[Any], node: ast.Call, want: Layout | None) -> Operand:
    """``perf.submit(ctx, Event(...))``; whether there was room."""
    context, item = _one(fn, node, "submit", 2)
    if not isinstance(fn.expr(context), Context):
        raise fn.error("PY191", context, "the hook's context is needed here", hint="pass the function's own parameter")
    layout = decl.event_layout
    event = fn.value(item, layout)
    if not isinstance(event, Mem) or event.layout != layout:
        raise fn.error("PY123", item, f"buffer {decl.name} carries {layout.name}, not {event.describe()}")
    pointer = maps.in_memory(fn, event, layout, item, "event")
    result = fn.helper(
        "bpf_perf_event_output", fn.context_value(), maps.reference(fn, base, node), fn.const(0xFFFFFFFF, U64),
        pointer, fn.const(layout.size, U64),
    )  # fmt: skip
    sent = fn.compare("eq", result, fn.const(0, S64))
    # A full buffer is counted by the kernel itself, in the buffer.
    full = fn.compare("eq", result, fn.const(-28, S64))
    lost, end = fn.blocks("lost", "sent")
    fn.condbr(fn.fb.emit("or", sent, full, type=BOOL), end, lost)
    fn.enter(lost)
    fn.unit.count_cause(fn, decl.name)
    fn.goto(end)
    fn.enter(end)
    return Truth(sent)
