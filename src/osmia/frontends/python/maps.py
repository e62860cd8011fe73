"""Maps in kernel code: lookups, updates that are never lost silently, counters, histograms, queues, storage,
redirection."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import MAP_REF, Ptr, Space, Value
from osmia.frontends.python import memory
from osmia.frontends.python.numbers import binop, convert
from osmia.frontends.python.values import Const, InnerMap, KPtr, Maybe, MaybePtr, Mem, Nothing, Num, Operand, Truth
from osmia.lang import maps as M
from osmia.lang.structs import describe
from osmia.object.layout import BOOL, S64, U32, U64, Int, Layout, Struct

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn
    from osmia.frontends.python.memory import Place

NOEXIST = 1
_ARRAYS = ("array", "percpu_array")
_DIRECT_KEYS = (Space.STACK, Space.MAP, Space.GLOBAL)


def declaration(operand: Operand) -> M.MapDecl | None:
    """The declaration of a map operand; ``None`` for other operands."""
    if isinstance(operand, InnerMap):
        return operand.decl
    if isinstance(operand, Const) and isinstance(operand.value, M.MapDecl):
        return operand.value
    return None


class _Calls:
    """Map operations on a map known by name, or on one found in a map of maps."""

    def __init__(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        self.fn = fn
        self.decl = declaration(operand)
        assert self.decl is not None
        self.inner = operand.value if isinstance(operand, InnerMap) else None
        self.name = "" if self.inner is not None else fn.unit.map_name(fn, self.decl, node)

    def lookup(self, key: Value, type_: Ptr) -> Value:
        if self.inner is not None:
            return self.fn.helper("bpf_map_lookup_elem", self.inner, key, type=type_)
        return self.fn.fb.emit("map.lookup", key, type=type_, map=self.name)

    def update(self, key: Value, value: Value, flags: int) -> Value:
        if self.inner is not None:
            return self.fn.helper("bpf_map_update_elem", self.inner, key, value, self.fn.const(flags, U64))
        return self.fn.fb.emit("map.update", key, value, type=S64, map=self.name, flags=flags)

    def delete(self, key: Value) -> Value:
        if self.inner is not None:
            return self.fn.helper("bpf_map_delete_elem", self.inner, key)
        return self.fn.fb.emit("map.delete", key, type=S64, map=self.name)


def reference(fn: Fn, operand: Operand, node: ast.AST) -> Value:
    """The map as an argument of a helper."""
    if isinstance(operand, InnerMap):
        return operand.value
    decl = declaration(operand)
    assert decl is not None
    return fn.fb.emit("map.ref", type=MAP_REF, map=fn.unit.map_name(fn, decl, node))


def in_memory(fn: Fn, operand: Operand, layout: Layout, node: ast.AST, what: str) -> Value:
    """A key or value in memory that helpers may read."""
    operand = fn.unwrap(operand, node)
    if isinstance(operand, Mem) and operand.layout == layout and operand.space in _DIRECT_KEYS:
        return operand.ptr
    target = fn.temp(layout, what)
    fn.write(target.ptr, layout, operand, node)
    return target.ptr


def direct_pointer(fn: Fn, operand: Mem, node: ast.AST) -> Value:
    """A pointer to memory that any helper may read."""
    return in_memory(fn, operand, operand.layout, node, "data")


def key_pointer(fn: Fn, decl: M.MapDecl, key: Operand, node: ast.AST) -> Value:
    """The key in memory."""
    if decl.key_layout is None:
        raise fn.error("PY143", node, f"map {decl.name} has no keys")
    return in_memory(fn, key, decl.key_layout, node, "key")


def _value_layout(fn: Fn, decl: M.MapDecl, node: ast.AST) -> Layout:
    if decl.value_layout is None:
        raise fn.error("PY143", node, f"map {decl.name} has no values to read here")
    return decl.value_layout


def _is_shared(decl: M.MapDecl) -> bool:
    return not decl.PER_CPU


def _found(fn: Fn, decl: M.MapDecl, layout: Layout) -> Callable[[Value], Operand]:
    """What a lookup's tested pointer stands for: numbers are copied, the rest is referred to."""

    def make(pointer: Value) -> Operand:
        return memory.read(fn, pointer, layout, _is_shared(decl), True, (pointer, layout.size, 0))

    return make


# -- keyed maps -----------------------------------------------------------------------------------------------------


def lookup(fn: Fn, target: Operand, key: Operand, key_node: ast.AST, node: ast.AST) -> MaybePtr:
    """``m.get(key)``."""
    calls = _Calls(fn, target, node)
    decl = calls.decl
    assert decl is not None
    layout = _value_layout(fn, decl, node)
    pointer = calls.lookup(key_pointer(fn, decl, key, key_node), Ptr(Space.MAP, layout, True))
    return MaybePtr(pointer, _found(fn, decl, layout))


def get_default(
    fn: Fn, target: Operand, key: Operand, default: Operand, key_node: ast.AST, default_node: ast.AST, node: ast.AST
) -> Operand:
    """``m.get(key, default)`` of a map of numbers or text."""
    from osmia.frontends.python.joins import Join

    decl = declaration(target)
    assert decl is not None
    if isinstance(default, Const) and default.value is None:
        return lookup(fn, target, key, key_node, node)
    if isinstance(decl.value_layout, Struct):
        raise fn.error(
            "PY144", default_node, "a struct value has no default: it would have to lie in the map",
            hint="v = m.get(k), then test `if v is None:`",
        )  # fmt: skip
    found = lookup(fn, target, key, key_node, node)
    join = Join(fn, node)
    (missing,) = fn.blocks("default")
    value = fn.split(found, missing)
    if isinstance(value, Mem):
        value = _copied(fn, value, node)
    join.add(value)
    fn.enter(missing)
    join.add(default, default_node)
    return join.finish()


def _copied(fn: Fn, value: Mem, node: ast.AST) -> Mem:
    copy = fn.temp(value.layout, "copy")
    fn.write(copy.ptr, value.layout, value, node)
    return copy


def item(fn: Fn, target: Operand, key: Operand, key_node: ast.AST, node: ast.AST) -> Operand:
    """``a[i]`` of an array map; refused for maps whose keys may be missing."""
    place = item_place(fn, target, key, key_node, node)
    return place.read(fn)


def item_place(fn: Fn, target: Operand, key: Operand, key_node: ast.AST, node: ast.AST) -> Place:
    """An array map's entry; an index outside is a run-time error."""
    decl = declaration(target)
    assert decl is not None
    if isinstance(decl, M.ProgArray):
        raise fn.error("PY143", node, "a program of a table is only called", hint=f"write {decl.name}[i](ctx)")
    if decl.kind not in _ARRAYS:
        raise fn.error(
            "PY145", node, f"the key may be missing in map {decl.name}",
            hint=f"write {decl.name}.get(key) and test for None, or {decl.name}.get(key, 0)",
        )  # fmt: skip
    layout = _value_layout(fn, decl, node)
    if isinstance(key, Const) and isinstance(key.value, int) and not 0 <= key.value < decl.max_entries:
        raise fn.error("PY120", key_node, f"there is no index {key.value} in array {decl.name} of {decl.max_entries}")
    found = lookup(fn, target, array_index(fn, key, key_node), key_node, node)
    (missing,) = fn.blocks("outside")
    pointer: list[Value] = []

    def keep(tested: Value) -> Operand:
        pointer.append(tested)
        return Nothing()

    fn.split(MaybePtr(found.value, keep), missing)
    block, flow = fn.fb.block, fn.flow
    fn.enter(missing)
    fn.fail(f"index outside array {decl.name}", node)
    fn.fb.block, fn.flow, fn.live = block, flow, True
    return memory.Place(pointer[0], layout, _is_shared(decl), "", (pointer[0], layout.size, 0))


def array_index(fn: Fn, key: Operand, node: ast.AST) -> Operand:
    """An index whose high bits count: what does not fit 32 bits is outside, not cut."""
    number = fn.as_number(fn.unwrap(key, node), node)
    if not isinstance(number, Num) or (number.type.bits <= 32 and not (number.type.signed and number.type.bits < 32)):
        return number
    wide = convert(fn, number.value, number.type, S64 if number.type.signed else U64)
    bits = fn.fb.emit("retype", wide, type=U64) if number.type.signed else wide
    most = fn.const(0xFFFFFFFF, U64)
    cut = fn.fb.emit("select", fn.compare("ugt", bits, most), most, bits, type=U64)
    return Num(fn.fb.emit("trunc", cut, type=U32), U32)


def assign(
    fn: Fn, target: Operand, key: Operand, value: Operand, key_node: ast.AST, value_node: ast.AST, node: ast.AST
) -> None:
    """``m[k] = v``; what the map refuses is counted, an index outside an array is a run-time error."""
    decl = declaration(target)
    assert decl is not None
    _writable(fn, decl, node)
    layout = _value_layout(fn, decl, node)
    if decl.kind in _ARRAYS:
        item_place(fn, target, key, key_node, node).write(fn, value, value_node)
        return
    pointer = key_pointer(fn, decl, key, key_node)
    stored = in_memory(fn, value, layout, value_node, "value")
    result = _Calls(fn, target, node).update(pointer, stored, 0)
    _count_refusal(fn, decl, result)


def _writable(fn: Fn, decl: M.MapDecl, node: ast.AST) -> None:
    if isinstance(decl, (M.ProgArray, M.MapOfMaps, M.CgroupArray, M.StackTrace, M.Histogram, M.Redirect, M.Storage)):
        raise fn.error("PY146", node, f"entries of a {decl.kind} map are set from user space", hint=None)


def _count_refusal(fn: Fn, decl: M.MapDecl, result: Value) -> None:
    refused, end = fn.blocks("refused", "updated")
    fn.condbr(fn.compare("slt", result, fn.const(0, S64)), refused, end)
    fn.enter(refused)
    fn.unit.count_cause(fn, decl.name)
    fn.goto(end)
    fn.enter(end)


def insert(
    fn: Fn, target: Operand, key: Operand, value: Operand, key_node: ast.AST, value_node: ast.AST, node: ast.AST
) -> Operand:
    """``m.insert(k, v)``: whether the entry was added."""
    decl = declaration(target)
    assert decl is not None
    _writable(fn, decl, node)
    layout = _value_layout(fn, decl, node)
    if decl.kind in _ARRAYS:
        raise fn.error("PY146", node, "an array's entries are all there: nothing can be added", hint="write a[i] = v")
    pointer = key_pointer(fn, decl, key, key_node)
    stored = in_memory(fn, value, layout, value_node, "value")
    result = _Calls(fn, target, node).update(pointer, stored, NOEXIST)
    return Truth(fn.compare("eq", result, fn.const(0, S64)))


def delete(fn: Fn, target: Operand, key: Operand, key_node: ast.AST, node: ast.AST) -> Operand:
    """``del m[k]``: whether there was an entry."""
    decl = declaration(target)
    assert decl is not None
    if decl.kind in _ARRAYS:
        raise fn.error("PY146", node, "an array's entries cannot be removed", hint="write a[i] = 0")
    if not isinstance(decl, (M.Table, M.Redirect, M.MapOfMaps)) or decl.kind in ("devmap", "cpumap", "xskmap"):
        raise fn.error("PY146", node, f"entries of a {decl.kind} map are removed from user space")
    result = _Calls(fn, target, node).delete(key_pointer(fn, decl, key, key_node))
    return Truth(fn.compare("eq", result, fn.const(0, S64)))


def pop(fn: Fn, target: Operand, key: Operand, key_node: ast.AST, node: ast.AST) -> Operand:
    """``m.pop(k)``: a copy of the value, then the entry is gone."""
    decl = declaration(target)
    assert decl is not None
    if decl.kind in _ARRAYS:
        raise fn.error("PY146", node, "an array's entries cannot be removed", hint="read a[i], then write a[i] = 0")
    layout = _value_layout(fn, decl, node)
    calls = _Calls(fn, target, node)
    pointer = in_memory(fn, key, decl.key_layout or U64, key_node, "key")
    copy = fn.temp(layout, "popped")
    there = fn.fb.local("popped.there", BOOL)
    missing, end = fn.blocks("missing", "popped")
    found = calls.lookup(pointer, Ptr(Space.MAP, layout, True))
    value = fn.split(MaybePtr(found, lambda tested: Mem(tested, layout)), missing)
    assert isinstance(value, Mem)
    fn.fb.emit("copy", copy.ptr, value.ptr, size=layout.size)
    calls.delete(pointer)
    fn.fb.set(there, fn.true())
    fn.goto(end)
    fn.enter(missing)
    fn.fb.emit("zero", copy.ptr, size=layout.size)
    fn.fb.set(there, fn.false())
    fn.goto(end)
    fn.enter(end)
    return Maybe(fn.fb.get(there), memory.read(fn, copy.ptr, layout))


def update(
    fn: Fn,
    target: Operand,
    key: Operand,
    op: ast.operator,
    right: Operand,
    key_node: ast.AST,
    node: ast.AST,
    right_node: ast.AST,
) -> None:
    """``m[k] op= v``: makes the entry if it is missing, adds atomically, counts what the map refuses."""
    decl = declaration(target)
    assert decl is not None
    _writable(fn, decl, node)
    layout = _value_layout(fn, decl, node)
    scalar = memory.scalar_type(layout)
    if not isinstance(scalar, Int):
        raise fn.error(
            "PY147", node, f"values of map {decl.name} are {describe(layout)}, no numbers",
            hint="v = m.get(k), then v.field += 1",
        )  # fmt: skip
    if decl.kind in _ARRAYS:
        memory.update(fn, item_place(fn, target, key, key_node, node), op, right, node, right_node)
        return
    if _is_shared(decl) and scalar.bits < 32:
        raise fn.error("PY125", node, f"a shared {scalar} cannot be updated atomically", hint="make the value a u64")
    _upsert(fn, target, decl, layout, scalar, key, op, right, key_node, node, right_node)


def _upsert(
    fn: Fn,
    target: Operand,
    decl: M.MapDecl,
    layout: Layout,
    scalar: Int,
    key: Operand,
    op: ast.operator,
    right: Operand,
    key_node: ast.AST,
    node: ast.AST,
    right_node: ast.AST,
) -> None:
    calls = _Calls(fn, target, node)
    pointer = key_pointer(fn, decl, key, key_node)
    right = fn.as_number(fn.unwrap(right, right_node), right_node)
    if not isinstance(right, Const):
        right = Num(
            fn.to_int(right, right.type if isinstance(right, Num) else S64, right_node),
            right.type if isinstance(right, Num) else S64,
        )
    kind = Ptr(Space.MAP, layout, True)
    chosen = fn.fb.local("entry", Ptr(Space.MAP, layout))
    missing, again, lost, apply, end = fn.blocks("missing", "again", "lost", "apply", "updated")

    def keep(tested: Value) -> Operand:
        fn.fb.set(chosen, tested)
        return Nothing()

    fn.split(MaybePtr(calls.lookup(pointer, kind), keep), missing)
    fn.goto(apply)
    # Not there yet: the first value goes in at once. Somebody else may have been faster; then the entry is there now.
    fn.enter(missing)
    first = binop(fn, op, Num(fn.const(0, scalar), scalar), right, node)
    start = fn.temp(layout, "first")
    fn.store(start.ptr, fn.to_int(first, scalar, node))
    result = calls.update(pointer, start.ptr, NOEXIST)
    fn.condbr(fn.compare("eq", result, fn.const(0, S64)), end, again)
    fn.enter(again)
    fn.split(MaybePtr(calls.lookup(pointer, kind), keep), lost)
    fn.goto(apply)
    fn.enter(lost)
    fn.unit.count_cause(fn, decl.name)
    fn.goto(end)
    fn.enter(apply)
    entry = fn.fb.get(chosen)
    place = memory.Place(entry, layout, _is_shared(decl), "", (entry, layout.size, 0))
    memory.update(fn, place, op, right, node, right_node)
    fn.goto(end)
    fn.enter(end)


# -- histograms -----------------------------------------------------------------------------------------------------


def record(
    fn: Fn, decl: M.Histogram[Any], key: Operand | None, value: Operand, weight: Operand, nodes: Any, node: ast.AST
) -> None:
    """``h.record(v)`` and ``h[k].record(v)``."""
    key_node, value_node, weight_node = nodes
    number = fn.as_number(fn.unwrap(value, value_node), value_node)
    if (key is None) != (decl.group is None):
        hint = f"write {decl.name}[key].record(v)" if key is None else f"write {decl.name}.record(v)"
        raise fn.error("PY148", node, f"histogram {decl.name} has {'a' if key is None else 'no'} key", hint=hint)
    bucket = (
        _log2_bucket(fn, number, value_node) if decl.scale == "log2" else _linear_bucket(fn, decl, number, value_node)
    )
    target = Const(decl)
    if key is None:
        operand = Num(bucket, U32)
        place = item_place(fn, target, operand, value_node, node)
        memory.update(fn, place, ast.Add(), weight, node, weight_node)
        return
    assert isinstance(decl.key_layout, Struct)
    made = fn.temp(decl.key_layout, "key")
    if memory.padded(decl.key_layout):
        fn.fb.emit("zero", made.ptr, size=decl.key_layout.size)
    group, slot = decl.key_layout.fields
    fn.write(memory.part(fn, made, group.type, group.offset, "key").pointer, group.type, key, key_node)
    fn.store(memory.part(fn, made, slot.type, slot.offset, "bucket").pointer, bucket)
    _upsert(fn, target, decl, U64, U64, made, ast.Add(), weight, key_node, node, weight_node)


def _log2_bucket(fn: Fn, number: Operand, node: ast.AST) -> Value:
    """0 for 0 and below, else one more than the position of the highest bit."""
    signed = isinstance(number, Num) and number.type.signed
    if isinstance(number, Const):
        return fn.const(max(0, int(number.value)).bit_length(), U32)
    wide = fn.to_int(number, S64 if signed else U64, node)
    bits = fn.fb.emit("retype", wide, type=U64) if signed else wide
    found = fn.fb.emit("add", highest_bit(fn, bits), fn.const(1, U32), type=U32)
    empty = fn.compare("sle", wide, fn.const(0, S64)) if signed else fn.compare("eq", wide, fn.const(0, U64))
    return fn.fb.emit("select", empty, fn.const(0, U32), found, type=U32)


def highest_bit(fn: Fn, value: Value) -> Value:
    """Position of the highest set bit of a ``u64``; 0 for 0."""
    emit = fn.fb.emit
    result = fn.const(0, U32)
    for step in (32, 16, 8, 4, 2, 1):
        high = emit("lshr", value, fn.const(step, U64), type=U64)
        some = fn.compare("ne", high, fn.const(0, U64))
        value = emit("select", some, high, value, type=U64)
        added = emit("add", result, fn.const(step, U32), type=U32)
        result = emit("select", some, added, result, type=U32)
    return result


def _linear_bucket(fn: Fn, decl: M.Histogram[Any], number: Operand, node: ast.AST) -> Value:
    from osmia.frontends.python.compare import compare_numbers

    below = fn.truth(compare_numbers(fn, "lt", number, Const(decl.low), node), node)
    above = fn.truth(compare_numbers(fn, "ge", number, Const(decl.high), node), node)
    wide = fn.to_int(number, S64, node) if not isinstance(number, Const) else fn.const(int(number.value), S64)
    distance = fn.fb.emit("sub", wide, fn.const(decl.low, S64), type=S64)
    unsigned = fn.fb.emit("retype", distance, type=U64)
    steps = fn.fb.emit("udiv", unsigned, fn.const(decl.step, U64), type=U64)
    inside = fn.fb.emit("add", fn.fb.emit("trunc", steps, type=U32), fn.const(1, U32), type=U32)
    upper = fn.fb.emit("select", above, fn.const(decl.buckets - 1, U32), inside, type=U32)
    return fn.fb.emit("select", below, fn.const(0, U32), upper, type=U32)


# -- queues, filters, storage, redirection ----------------------------------------------------------------------------


def push(fn: Fn, decl: M.MapDecl, value: Operand, value_node: ast.AST, node: ast.AST) -> Operand:
    """``q.push(v)`` and ``bloom.add(v)``: whether there was room."""
    layout = _value_layout(fn, decl, node)
    stored = in_memory(fn, value, layout, value_node, "value")
    result = fn.helper("bpf_map_push_elem", reference(fn, Const(decl), node), stored, fn.const(0, U64))
    return Truth(fn.compare("eq", result, fn.const(0, S64)))


def take(fn: Fn, decl: M.MapDecl, helper: str, node: ast.AST) -> Operand:
    """``q.pop()`` and ``q.peek()``."""
    layout = _value_layout(fn, decl, node)
    target = fn.temp(layout, "item")
    fn.fb.emit("zero", target.ptr, size=layout.size)
    result = fn.helper(helper, reference(fn, Const(decl), node), target.ptr)
    there = fn.compare("eq", result, fn.const(0, S64))
    return Maybe(there, memory.read(fn, target.ptr, layout))


def bloom_contains(fn: Fn, decl: M.MapDecl, value: Operand, node: ast.AST) -> Operand:
    """``v in bloom``."""
    layout = _value_layout(fn, decl, node)
    target = fn.temp(layout, "item")
    fn.write(target.ptr, layout, value, node)
    result = fn.helper("bpf_map_peek_elem", reference(fn, Const(decl), node), target.ptr)
    return Truth(fn.compare("eq", result, fn.const(0, S64)))


_STORAGE = {
    "sk_storage": "bpf_sk_storage", "task_storage": "bpf_task_storage", "inode_storage": "bpf_inode_storage",
    "cgrp_storage": "bpf_cgrp_storage",
}  # fmt: skip


def storage_get(fn: Fn, decl: M.MapDecl, owner: Operand, create: bool, owner_node: ast.AST, node: ast.AST) -> MaybePtr:
    """``s.get(owner)`` and ``s.get_or_create(owner)``."""
    layout = _value_layout(fn, decl, node)
    pointer = _owner(fn, decl, owner, owner_node)
    empty = fn.fb.emit("null", type=Ptr(Space.STACK, layout, True))
    name = f"{_STORAGE[decl.kind]}_get"
    kind = Ptr(Space.MAP, layout, True)
    flags = fn.const(1 if create else 0, U64)
    found = fn.helper(name, reference(fn, Const(decl), node), pointer, empty, flags, type=kind)
    return MaybePtr(found, _found(fn, decl, layout))


def storage_delete(fn: Fn, decl: M.MapDecl, owner: Operand, owner_node: ast.AST, node: ast.AST) -> Operand:
    """``s.delete(owner)``: whether there was a value."""
    pointer = _owner(fn, decl, owner, owner_node)
    result = fn.helper(f"{_STORAGE[decl.kind]}_delete", reference(fn, Const(decl), node), pointer)
    return Truth(fn.compare("eq", result, fn.const(0, S64)))


def _owner(fn: Fn, decl: M.MapDecl, owner: Operand, node: ast.AST) -> Value:
    owner = fn.unwrap(owner, node)
    if isinstance(owner, KPtr) and owner.space is Space.BTF:
        return owner.value
    if isinstance(owner, Mem) and owner.space is Space.MEM:
        return owner.ptr
    raise fn.error(
        "PY149", node, f"the owner of {decl.kind} is an object the verifier knows, not {owner.describe()}",
        hint="such as current(), or an argument of a BTF tracepoint",
    )  # fmt: skip


def redirect(
    fn: Fn, decl: M.MapDecl, args: list[Operand], flags: Operand, nodes: list[ast.expr], node: ast.AST
) -> Operand:
    """``m.redirect(key)``: the verdict that sends the packet on."""
    from osmia.frontends.python.values import Context

    flag_value = fn.to_int(flags, U64, node)
    if decl.kind in ("sockmap", "sockhash"):
        if len(args) != 2 or not isinstance(args[0], Context):
            raise fn.error("PY150", node, "redirection through sockets takes the context and a key")
        ending = "map" if decl.kind == "sockmap" else "hash"
        kind = "msg" if fn.program.prog_type == "sk_msg" else "sk"
        key = args[1]
        key_value = fn.to_int(key, U32, nodes[1]) if decl.kind == "sockmap" else key_pointer(fn, decl, key, nodes[1])
        result = fn.helper(
            f"bpf_{kind}_redirect_{ending}", fn.context_value(), reference(fn, Const(decl), node), key_value, flag_value
        )
        return Num(result, S64)
    if len(args) != 1:
        raise fn.error("PY150", node, "redirect takes one key")
    key_value = fn.to_int(args[0], U64, nodes[0])
    return Num(fn.helper("bpf_redirect_map", reference(fn, Const(decl), node), key_value, flag_value), S64)


def inner(fn: Fn, decl: M.MapDecl, key: Operand, key_node: ast.AST, node: ast.AST) -> MaybePtr:
    """``outer.get(k)`` of a map of maps."""
    assert decl.inner is not None
    pointer = key_pointer(fn, decl, key, key_node)
    kind = Ptr(Space.MAP, None, True)
    found = fn.fb.emit("map.lookup", pointer, type=kind, map=fn.unit.map_name(fn, decl, node))
    declared = decl.inner
    return MaybePtr(found, lambda tested: InnerMap(tested, declared))
