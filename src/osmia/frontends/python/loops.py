"""Loops: plain ones that the verifier follows, ``bpf_loop`` for long or unknown ranges, callbacks over maps."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import MAP_REF, Ptr, Space, Value
from osmia.frontends.python import assign, callbacks, globals, maps, memory, strings
from osmia.frontends.python.conditions import branch
from osmia.frontends.python.function import Loop
from osmia.frontends.python.numbers import convert, in_type, join, literal_join, unify
from osmia.frontends.python.slots import NumSlot, OptionalSlot, Variable
from osmia.frontends.python.values import Const, Group, Items, Mem, Num, Operand
from osmia.lang import maps as M
from osmia.object.layout import S64, U8, U32, U64, Array, Bytes, Int

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn

PLAIN_TURNS = 256
MAX_TURNS = 1 << 23
_UNROLLED = 64


def assigned_names(nodes: list[ast.stmt]) -> set[str]:
    """The names that statements may assign."""
    found: set[str] = set()
    for statement in nodes:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
                found.add(node.id)
            elif isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
                found.add(node.name)
    return found


def forget(fn: Fn, names: set[str]) -> None:
    """What is known of variables that a loop's body assigns does not hold at its head."""
    for name in names:
        variable = fn.scope.variables.get(name)
        if variable is not None and variable.slot is not None:
            for part in variable.slot.parts():
                if isinstance(part, OptionalSlot):
                    fn.flow.there.pop(part, None)


# -- while ----------------------------------------------------------------------------------------------------------


def while_(fn: Fn, node: ast.While) -> None:
    """``while``: a plain loop; the verifier follows it until it ends."""
    head, body, done, end = fn.blocks("while", "body", "done", "endwhile")
    fn.goto(head)
    flow = fn.flow.copy()
    fn.enter(head, flow)
    forget(fn, assigned_names(node.body) | assigned_names([ast.Expr(node.test)]))
    branch(fn, node.test, body, done)
    fn.scope.loops.append(Loop(lambda: fn.goto(end), lambda: _again(fn, head)))
    if fn.reached(body):
        fn.enter(body)
        fn.body(node.body)
        if fn.live:
            _again(fn, head)
    fn.scope.loops.pop()
    if fn.reached(done):
        fn.enter(done)
        fn.body(node.orelse)
        if fn.live:
            fn.goto(end)
    fn.enter_if_reached(end)


def _again(fn: Fn, head: Any) -> None:
    """Jumps back to a loop's head, whose knowledge is fixed already."""
    fn.fb.emit("br", to=head.label)
    fn.live = False


def break_(fn: Fn, node: ast.Break) -> None:
    """``break``."""
    fn.scope.loops[-1].on_break()
    fn.live = False


def continue_(fn: Fn, node: ast.Continue) -> None:
    """``continue``."""
    fn.scope.loops[-1].on_continue()
    fn.live = False


# -- for ------------------------------------------------------------------------------------------------------------


def for_(fn: Fn, node: ast.For) -> None:
    """``for``: over a range, an array, a constant sequence, or a map."""
    if node.type_comment:
        raise fn.error("PY160", node, "type comments are not read", hint="annotate the variable")
    if isinstance(node.iter, ast.Call):
        special = _special_iteration(fn, node.iter)
        if special == "range":
            _over_range(fn, node, node.iter)
            return
        if special == "enumerate":
            _over_sequence(fn, node, fn.value(node.iter.args[0]), node.iter.args[0], True)
            return
        if special:
            _over_map(fn, node, node.iter, special)
            return
    iterable = fn.value(node.iter)
    decl = maps.declaration(iterable)
    if decl is not None:
        _map_loop(fn, node, iterable, decl, "keys")
    elif isinstance(iterable, Const) and isinstance(iterable.value, range):
        values = iterable.value
        _count_loop(fn, node, Const(values.start), Const(values.stop), Const(values.step))
    else:
        _over_sequence(fn, node, iterable, node.iter, False)


def _special_iteration(fn: Fn, call: ast.Call) -> str:
    if isinstance(call.func, ast.Name) and call.func.id not in fn.scope.names:
        callee = fn.constant(call.func.id, call.func)
        if isinstance(callee, Const) and callee.value in (range, enumerate):
            name: str = callee.value.__name__
            wrong = call.keywords or not 1 <= len(call.args) <= (3 if name == "range" else 1)
            if wrong or any(isinstance(item, ast.Starred) for item in call.args):
                raise fn.error(
                    "PY176", call, f"{name}() takes {'one to three numbers' if name == 'range' else 'one array'}"
                )
            return name
    if isinstance(call.func, ast.Attribute) and call.func.attr in ("items", "keys", "values"):
        if call.args or call.keywords:
            raise fn.error("PY176", call, f"{call.func.attr}() takes no arguments")
        return call.func.attr
    return ""


def _over_range(fn: Fn, node: ast.For, call: ast.Call) -> None:
    numbers = [fn.number(item) for item in call.args]
    if len(numbers) == 1:
        numbers.insert(0, Const(0))
    if len(numbers) == 2:
        numbers.append(Const(1))
    limit = _upper_bound(fn, call.args[0]) if len(call.args) == 1 else None
    start, stop, step = numbers
    _count_loop(fn, node, start, stop, step, limit)


def _upper_bound(fn: Fn, node: ast.expr) -> int | None:
    """The constant of ``range(min(n, 64))``."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id in fn.scope.names:
        return None
    callee = fn.constant(node.func.id, node.func)
    if not isinstance(callee, Const) or callee.value is not min:
        return None
    bounds = []
    for item in node.args:
        if isinstance(item, (ast.Constant, ast.Name)):
            value = fn.expr(item)
            if isinstance(value, Const) and isinstance(value.value, int):
                bounds.append(int(value.value))
    return min(bounds) if bounds else None


def _count_loop(fn: Fn, node: ast.For, start: Operand, stop: Operand, step: Operand, limit: int | None = None) -> None:
    if all(isinstance(item, Const) for item in (start, stop, step)):
        try:
            turns = len(range(*(int(item.value) for item in (start, stop, step) if isinstance(item, Const))))
        except (ValueError, OverflowError) as error:
            raise fn.error("PY176", node.iter, f"this range makes no sense: {error}") from None
        if turns > MAX_TURNS:
            raise fn.error("PY177", node.iter, f"{turns} turns are more than the kernel allows ({MAX_TURNS})")
        kind = _literal_kind(fn, node, [int(item.value) for item in (start, stop) if isinstance(item, Const)])
        count = fn.const(turns, U64)
        short = turns <= PLAIN_TURNS
    else:
        kind = unify(fn, start, stop, node.iter) if not _both_const(start, stop) else S64
        if isinstance(step, Const) and step.value < 0 and not kind.signed:
            kind = Int(min(64, kind.bits * 2), True)
        count = _turns(fn, start, stop, step, kind, node)
        short = limit is not None and limit <= PLAIN_TURNS
        turns = limit or 0
    first = in_type(fn, start, kind, node.iter)
    stride = in_type(fn, step, kind, node.iter)
    if short:
        _plain_loop(fn, node, first, stride, count, kind, turns)
    else:
        _long_loop(fn, node, first, stride, count, kind)


def _literal_kind(fn: Fn, node: ast.For, bounds: list[int]) -> Int:
    """The type of a loop over a constant range: that of its variable, if it has one that holds the range."""
    variable = fn.scope.variables.get(node.target.id) if isinstance(node.target, ast.Name) else None
    slot = None if variable is None else variable.slot
    kinds = [slot.type] if isinstance(slot, NumSlot) else []
    for kind in (*kinds, S64):
        low, high = kind.range()
        if all(low <= bound <= high for bound in bounds):
            return kind
    return U64


def _both_const(*operands: Operand) -> bool:
    return all(isinstance(item, Const) for item in operands)


def _turns(fn: Fn, start: Operand, stop: Operand, step: Operand, kind: Int, node: ast.For) -> Value:
    """How often a range's body runs, as a ``u64``: 0 where it is empty."""
    if not isinstance(step, Const):
        raise fn.error("PY176", node.iter, "the step of a range is a constant")
    stride = int(step.value)
    if stride == 0:
        raise fn.error("PY176", node.iter, "the step of a range is not 0")
    emit = fn.fb.emit
    low, high = (start, stop) if stride > 0 else (stop, start)
    a, b = in_type(fn, low, kind, node.iter), in_type(fn, high, kind, node.iter)
    some = fn.compare("slt" if kind.signed else "ult", a, b)
    unsigned = Int(kind.bits)
    span = emit("sub", b, a, type=kind)
    if kind.signed:
        span = emit("retype", span, type=unsigned)
    wide = convert(fn, span, unsigned, U64)
    if abs(stride) > 1:
        less = emit("sub", wide, fn.const(1, U64), type=U64)
        wide = emit("add", emit("udiv", less, fn.const(abs(stride), U64), type=U64), fn.const(1, U64), type=U64)
    return emit("select", some, wide, fn.const(0, U64), type=U64)


def _plain_loop(fn: Fn, node: ast.For, first: Value, stride: Value, count: Value, kind: Int, bound: int) -> None:
    """A loop that the verifier follows; ``bound`` is a constant that it can see."""
    turn, current = fn.fb.local("turn", U64), fn.fb.local("next", kind)
    total = fn.fb.local("turns", U64)
    fn.fb.set(turn, fn.const(0, U64))
    fn.fb.set(current, first)
    fn.fb.set(total, count)
    head, inside, body, step, done, end = fn.blocks("for", "bounded", "body", "step", "done", "endfor")
    fn.goto(head)
    flow = fn.flow.copy()
    fn.enter(head, flow)
    forget(fn, assigned_names([node]))
    fn.condbr(fn.compare("ult", fn.fb.get(turn), fn.const(bound, U64)), inside, done)
    fn.enter(inside)
    fn.condbr(fn.compare("ult", fn.fb.get(turn), fn.fb.get(total)), body, done)
    fn.enter(body)
    assign.store(fn, node.target, Num(fn.fb.get(current), kind), node.iter)
    fn.scope.loops.append(Loop(lambda: fn.goto(end), lambda: fn.goto(step)))
    fn.body(node.body)
    fn.scope.loops.pop()
    if fn.live:
        fn.goto(step)
    if fn.reached(step):
        fn.enter(step)
        following = fn.fb.emit("add", fn.fb.get(current), stride, type=kind)
        fn.fb.set(current, following)
        fn.fb.set(turn, fn.fb.emit("add", fn.fb.get(turn), fn.const(1, U64), type=U64))
        _again(fn, head)
    fn.enter(done)
    fn.body(node.orelse)
    if fn.live:
        fn.goto(end)
    fn.enter_if_reached(end)


def _long_loop(fn: Fn, node: ast.For, first: Value, stride: Value, count: Value, kind: Int) -> None:
    """A loop by ``bpf_loop``: its body is a callback, which the verifier reads once."""
    emit = fn.fb.emit
    most = fn.const(MAX_TURNS, U64)
    cut = fn.compare("ugt", count, most)
    over, enough = fn.blocks("cut", "counted")
    fn.condbr(cut, over, enough)
    fn.enter(over)
    fn.unit.count_error(fn, f"loop ended after {MAX_TURNS} turns", fn.span(node))
    fn.goto(enough)
    fn.enter(enough)
    turns = emit("trunc", emit("select", cut, most, count, type=U64), type=U32)
    frame = callbacks.Frame(fn, [node], node)
    start_slot = frame.keep("first", Num(first, kind))
    stride_slot = frame.keep("stride", Num(stride, kind))

    def enter(inner: Fn, params: list[Value]) -> None:
        at = convert(inner, params[0], U32, kind)
        offset = inner.fb.emit("mul", at, inner.fb.get(stride_slot.inside), type=kind)
        value = inner.fb.emit("add", inner.fb.get(start_slot.inside), offset, type=kind)
        assign.store(inner, node.target, Num(value, kind), node.iter)

    body = frame.compile([("index", U32)], enter, node.body)
    result = fn.helper("bpf_loop", turns, body, frame.pointer(), fn.const(0, U64))
    frame.finish(result, node.orelse)


# -- arrays, constants ------------------------------------------------------------------------------------------------


def _over_sequence(fn: Fn, node: ast.For, iterable: Operand, place: ast.expr, numbered: bool) -> None:
    if isinstance(iterable, Const) and isinstance(iterable.value, (list, tuple, set, frozenset, dict)):
        values = list(iterable.value)
        if isinstance(iterable.value, (set, frozenset)):
            values.sort(key=lambda item: (str(type(item)), item))
        if len(values) > 8 and all(isinstance(item, int) and not isinstance(item, bool) for item in values):
            table = globals.constant_table(fn, values, globals.sequence_layout(fn, values, place), place)
            _over_array(fn, node, table, place, numbered)
            return
        _unrolled(fn, node, [Const(item) for item in values], place, numbered)
        return
    if isinstance(iterable, Group):
        _unrolled(fn, node, iterable.items, place, numbered)
        return
    if isinstance(iterable, Items):
        _unrolled(fn, node, iterable.items * iterable.times, place, numbered)
        return
    if isinstance(iterable, Mem) and isinstance(iterable.layout, Bytes):
        view = strings.bytes_view(fn, iterable)
        iterable = Mem(view, Array(U8, iterable.layout.size), writable=False)
    if isinstance(iterable, Mem) and isinstance(iterable.layout, Array):
        _over_array(fn, node, iterable, place, numbered)
        return
    raise fn.error(
        "PY178", place, f"{iterable.describe()} cannot be iterated over",
        hint="loops go over range(), arrays, constant sequences and maps",
    )  # fmt: skip


def _over_array(fn: Fn, node: ast.For, array: Mem, place: ast.expr, numbered: bool) -> None:
    assert isinstance(array.layout, Array)
    count = array.layout.count
    pointer = fn.fb.local("array", array.ptr.type)
    fn.fb.set(pointer, array.ptr)
    at = fn.fb.local("at", U32)
    fn.fb.set(at, fn.const(0, U32))
    head, step, done, end = fn.blocks("for", "step", "done", "endfor")
    fn.goto(head)
    flow = fn.flow.copy()
    fn.enter(head, flow)
    forget(fn, assigned_names([node]))
    proven = strings.check_range(fn, fn.fb.get(at), count, done)
    assert isinstance(array.ptr.type, Ptr)
    element = array.layout.element
    where = fn.fb.emit("element", fn.fb.get(pointer), proven, type=Ptr(array.space, element))
    value = memory.read(fn, where, element, array.shared, array.writable)
    if isinstance(value, Mem):
        value.owned = False
    _bind(fn, node, value, Num(fn.fb.get(at), U32) if numbered else None, place)
    fn.scope.loops.append(Loop(lambda: fn.goto(end), lambda: fn.goto(step)))
    fn.body(node.body)
    fn.scope.loops.pop()
    if fn.live:
        fn.goto(step)
    if fn.reached(step):
        fn.enter(step)
        fn.fb.set(at, fn.fb.emit("add", fn.fb.get(at), fn.const(1, U32), type=U32))
        _again(fn, head)
    fn.enter(done)
    fn.body(node.orelse)
    if fn.live:
        fn.goto(end)
    fn.enter_if_reached(end)


def _bind(fn: Fn, node: ast.For, value: Operand, number: Operand | None, place: ast.expr) -> None:
    assign.store(fn, node.target, value if number is None else Group([number, value]), place)


def _unrolled(fn: Fn, node: ast.For, items: list[Operand], place: ast.expr, numbered: bool) -> None:
    """The body once per element, each with its own constants."""
    if len(items) > _UNROLLED:
        raise fn.error("PY177", place, f"{len(items)} elements of mixed types are too many for a loop")
    (end,) = fn.blocks("endfor")
    name = node.target.id if isinstance(node.target, ast.Name) else ""
    known = all(isinstance(item, Const) for item in items)
    if not known:
        items = _same_numbers(fn, items, place)
    for number, item in enumerate(items):
        (following,) = fn.blocks("turn")
        if name and known and isinstance(item, Const) and not numbered and name not in assigned_names(node.body):
            _bind_constant(fn, name, item, node)
        else:
            _bind(fn, node, item, Const(number) if numbered else None, place)
        fn.scope.loops.append(Loop(lambda: fn.goto(end), lambda block=following: fn.goto(block)))  # type: ignore[misc]
        fn.body(node.body)
        fn.scope.loops.pop()
        if fn.live:
            fn.goto(following)
        if not fn.reached(following):
            break
        fn.enter(following)
    else:
        fn.body(node.orelse)
        if fn.live:
            fn.goto(end)
    fn.enter_if_reached(end)


def _same_numbers(fn: Fn, items: list[Operand], place: ast.expr) -> list[Operand]:
    """Numbers in their common type; other elements as they are."""
    kind: Int | None = None
    for item in items:
        if isinstance(item, Num):
            kind = item.type if kind is None else join(kind, item.type)
        elif not isinstance(item, Const) or not isinstance(item.value, int):
            return items
    if kind is None:
        return items
    for item in items:
        if isinstance(item, Const):
            kind = literal_join(fn, int(item.value), kind, place)
    return [Num(in_type(fn, item, kind, place), kind) for item in items]


def _bind_constant(fn: Fn, name: str, item: Const, node: ast.For) -> None:
    from osmia.frontends.python.slots import ConstSlot

    known = fn.scope.variables.get(name)
    if known is not None and known.slot is not None and not isinstance(known.slot, ConstSlot):
        assign.store(fn, node.target, item, node.iter)
        return
    variable = Variable(name, fn.span(node.target))
    variable.slot = ConstSlot(item.value)
    fn.scope.variables[name] = variable
    fn.scope.poisoned.discard(name)
    fn.flow.bound.add(variable)


# -- maps -----------------------------------------------------------------------------------------------------------


def _over_map(fn: Fn, node: ast.For, call: ast.Call, what: str) -> None:
    assert isinstance(call.func, ast.Attribute)
    base = fn.value(call.func.value)
    decl = maps.declaration(base)
    if decl is not None:
        _map_loop(fn, node, base, decl, what)
        return
    if isinstance(base, Const) and isinstance(base.value, dict):
        values: Any = {"items": base.value.items, "keys": base.value.keys, "values": base.value.values}[what]()
        _unrolled(fn, node, [_constant(item) for item in values], node.iter, False)
        return
    raise fn.error("PY178", node.iter, f"{base.describe()} has no {what}() to iterate over")


def _constant(item: Any) -> Operand:
    return Group([Const(part) for part in item]) if isinstance(item, tuple) else Const(item)


def _map_loop(fn: Fn, node: ast.For, target: Operand, decl: M.MapDecl, what: str) -> None:
    if not isinstance(decl, M.Table) or decl.kind == "lpm_trie":
        raise fn.error(
            "PY178", node.iter, f"the kernel cannot iterate over a {decl.kind} map", hint="do it in user space"
        )
    key_layout, value_layout = decl.key_layout, decl.value_layout
    assert key_layout is not None
    assert value_layout is not None
    frame = callbacks.Frame(fn, [node], node)

    def enter(inner: Fn, params: list[Value]) -> None:
        key = memory.read(inner, params[1], key_layout, writable=False)
        pointer = params[2]
        value = memory.read(inner, pointer, value_layout, not decl.PER_CPU, True, (pointer, value_layout.size, 0))
        bound = {"keys": key, "values": value, "items": Group([key, value])}[what]
        assign.store(inner, node.target, bound, node.iter)

    params = [("map", MAP_REF), ("key", Ptr(Space.MEM, key_layout)), ("value", Ptr(Space.MAP, value_layout))]
    body = frame.compile(params, enter, node.body)
    reference = maps.reference(fn, target, node.iter)
    result = fn.helper("bpf_for_each_map_elem", reference, body, frame.pointer(), fn.const(0, U64))
    frame.finish(result, node.orelse)
