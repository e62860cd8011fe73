"""Calls of methods: operations of maps, text, contexts."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from osmia.diagnostics.text import did_you_mean
from osmia.frontends.python import contexts, globals, maps, rings, strings
from osmia.frontends.python.values import Const, Context, Nothing, Operand
from osmia.lang import maps as M
from osmia.object.layout import U64, Layout

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn


def attribute_constant(fn: Fn, base: Operand, node: ast.Attribute) -> Operand:
    """The function behind ``module.name``."""
    from osmia.frontends.python.access import constant_attribute

    assert isinstance(base, Const)
    owner = base.value
    if owner is int and node.attr == "from_bytes":
        return Const(int.from_bytes)
    return constant_attribute(fn, owner, node)


def call(fn: Fn, base: Operand, node: ast.Call, want: Layout | None) -> Operand:
    """``base.name(...)`` of an operand."""
    assert isinstance(node.func, ast.Attribute)
    base = fn.unwrap(base, node.func.value)
    name = node.func.attr
    decl = maps.declaration(base)
    if decl is not None:
        return _map_call(fn, base, decl, name, node, want)
    if isinstance(base, Context):
        return contexts.method(fn, base, name, node)
    if strings.is_text(base):
        return _text_call(fn, base, name, node)
    if isinstance(base, Const) and isinstance(base.value, dict) and name == "get":
        items = _args(fn, node, "get", 1, 2)
        key = fn.value(items[0])
        default = fn.expr(items[1], want) if len(items) == 2 else Const(None)
        return globals.index_dict(fn, base.value, key, default, items[0], node)
    raise fn.error("PY190", node.func, f"{base.describe()} has no method {name!r} in the kernel", hint=None)


def _args(fn: Fn, node: ast.Call, name: str, least: int, most: int) -> list[ast.expr]:
    from osmia.frontends.python.calls import arguments

    return arguments(fn, node, name, least, most)


def _text_call(fn: Fn, base: Operand, name: str, node: ast.Call) -> Operand:
    assert isinstance(node.func, ast.Attribute)
    if name == "startswith":
        (item,) = _args(fn, node, name, 1, 1)
        return strings.startswith(fn, base, fn.expr(item), node.func.value, item)
    if isinstance(base, Const) and name in ("encode", "lower", "upper", "strip", "join", "replace"):
        items = [fn.expr(item) for item in node.args]
        if not node.keywords and all(isinstance(item, Const) for item in items):
            try:
                return Const(getattr(base.value, name)(*(item.value for item in items if isinstance(item, Const))))
            except Exception as error:  # noqa: BLE001 - whatever Python raises for these constants
                raise fn.error("PY107", node, f"this constant expression has no value: {error}") from None
    raise fn.error(
        "PY190", node.func, f"text has no method {name!r} in the kernel",
        hint="it can be compared, indexed, and asked with startswith(); the rest is for user space",
    )  # fmt: skip


# -- maps -----------------------------------------------------------------------------------------------------------

_Method = Callable[["Fn", Operand, Any, ast.Call, "Layout | None"], Operand]


def _map_call(fn: Fn, base: Operand, decl: M.MapDecl, name: str, node: ast.Call, want: Layout | None) -> Operand:
    for kind, rows in _METHODS.items():
        if isinstance(decl, kind):
            row = rows.get(name)
            if row is not None:
                found: Operand = row(fn, base, decl, node, want)
                return found
            hint = did_you_mean(name, rows) or f"in the kernel it has: {', '.join(rows)}"
            raise fn.error("PY190", node.func, f"a {decl.kind} map has no {name}() in the kernel", hint=hint)
    raise fn.error("PY190", node.func, f"a {decl.kind} map has no methods in the kernel")


def _get(fn: Fn, base: Operand, decl: M.MapDecl, node: ast.Call, want: Layout | None) -> Operand:
    items = _args(fn, node, "get", 1, 2)
    key = fn.expr(items[0], decl.key_layout)
    if decl.kind in ("array", "percpu_array"):
        key = maps.array_index(fn, key, items[0])
    if len(items) == 1:
        return maps.lookup(fn, base, key, items[0], node)
    default = fn.expr(items[1], decl.value_layout)
    return maps.get_default(fn, base, key, default, items[0], items[1], node)


def _insert(fn: Fn, base: Operand, decl: M.MapDecl, node: ast.Call, want: Layout | None) -> Operand:
    items = _args(fn, node, "insert", 2, 2)
    key = fn.expr(items[0], decl.key_layout)
    return maps.insert(fn, base, key, fn.expr(items[1], decl.value_layout), items[0], items[1], node)


def _pop(fn: Fn, base: Operand, decl: M.MapDecl, node: ast.Call, want: Layout | None) -> Operand:
    (item,) = _args(fn, node, "pop", 1, 1)
    return maps.pop(fn, base, fn.expr(item, decl.key_layout), item, node)


def _add(fn: Fn, base: Operand, decl: M.MapDecl, node: ast.Call, want: Layout | None) -> Operand:
    items = _args(fn, node, "add", 1, 2)
    key = fn.expr(items[0], decl.key_layout)
    amount = fn.value(items[1]) if len(items) == 2 else Const(1)
    maps.update(fn, base, key, ast.Add(), amount, items[0], node, items[-1])
    return Nothing()


def _record(fn: Fn, base: Operand, decl: M.Histogram[Any], node: ast.Call, want: Layout | None) -> Operand:
    return record(fn, decl, None, None, node)


def record(fn: Fn, decl: M.Histogram[Any], key: Operand | None, key_node: ast.expr | None, node: ast.Call) -> Operand:
    """``h.record(v)``."""
    items = _args(fn, node, "record", 1, 2)
    value = fn.value(items[0])
    weight = fn.value(items[1]) if len(items) == 2 else Const(1)
    maps.record(fn, decl, key, value, weight, (key_node or node, items[0], items[-1]), node)
    return Nothing()


def _push(fn: Fn, base: Operand, decl: M.MapDecl, node: ast.Call, want: Layout | None) -> Operand:
    (item,) = _args(fn, node, "push", 1, 1)
    return maps.push(fn, decl, fn.expr(item, decl.value_layout), item, node)


def _take(helper: str) -> _Method:
    def row(fn: Fn, base: Operand, decl: M.MapDecl, node: ast.Call, want: Layout | None) -> Operand:
        _args(fn, node, helper, 0, 0)
        return maps.take(fn, decl, helper, node)

    return row


def _tail(fn: Fn, base: Operand, decl: M.MapDecl, node: ast.Call, want: Layout | None) -> Operand:
    context, index = _args(fn, node, "tail_call", 2, 2)
    _context(fn, context)
    return _jump(fn, decl, fn.expr(index), index, node)


def tail_call(fn: Fn, decl: M.MapDecl, index: Operand, node: ast.Call, index_node: ast.expr) -> Operand:
    """``table[i](ctx)``."""
    (context,) = _args(fn, node, "a tail call", 1, 1)
    _context(fn, context)
    return _jump(fn, decl, index, index_node, node)


def _context(fn: Fn, node: ast.expr) -> None:
    if not isinstance(fn.expr(node), Context):
        raise fn.error("PY191", node, "the hook's context is needed here", hint="pass the function's own parameter on")


def _jump(fn: Fn, decl: M.MapDecl, index: Operand, index_node: ast.AST, node: ast.AST) -> Operand:
    if fn.ir.kind != "program":
        raise fn.error("PY192", node, "a tail call leaves the whole program, which a function of its own cannot do")
    from osmia.object.layout import U32

    value = fn.to_int(fn.unwrap(index, index_node), U32, index_node)
    fn.fb.emit("tail_call", value, fn.context_value(), map=fn.unit.map_name(fn, decl, node))
    return Nothing()


def _inner(fn: Fn, base: Operand, decl: M.MapDecl, node: ast.Call, want: Layout | None) -> Operand:
    (item,) = _args(fn, node, "get", 1, 1)
    return maps.inner(fn, decl, fn.expr(item, decl.key_layout), item, node)


def _redirect(fn: Fn, base: Operand, decl: M.MapDecl, node: ast.Call, want: Layout | None) -> Operand:
    flags: Operand = Const(0)
    plain = ast.Call(func=node.func, args=node.args, keywords=[])
    ast.copy_location(plain, node)
    for keyword in node.keywords:
        if keyword.arg != "flags":
            raise fn.error("PY182", keyword.value, f"redirect() has no parameter '{keyword.arg}'")
        flags = fn.value(keyword.value, U64)
    items = _args(fn, plain, "redirect", 1, 2)
    return maps.redirect(fn, decl, [fn.value(item) for item in items], flags, items, node)


def _storage(create: bool) -> _Method:
    def row(fn: Fn, base: Operand, decl: M.MapDecl, node: ast.Call, want: Layout | None) -> Operand:
        (item,) = _args(fn, node, "get", 1, 1)
        return maps.storage_get(fn, decl, fn.expr(item), create, item, node)

    return row


def _storage_delete(fn: Fn, base: Operand, decl: M.MapDecl, node: ast.Call, want: Layout | None) -> Operand:
    (item,) = _args(fn, node, "delete", 1, 1)
    return maps.storage_delete(fn, decl, fn.expr(item), item, node)


def _has_current(fn: Fn, base: Operand, decl: M.MapDecl, node: ast.Call, want: Layout | None) -> Operand:
    from osmia.frontends.python.values import Truth
    from osmia.object.layout import S64, U32

    (item,) = _args(fn, node, "has_current", 1, 1)
    index = fn.to_int(fn.value(item), U32, item)
    result = fn.helper("bpf_current_task_under_cgroup", maps.reference(fn, base, node), index)
    return Truth(fn.compare("eq", result, fn.const(1, S64)))


_TABLE: dict[str, Any] = {"get": _get, "insert": _insert, "pop": _pop}

_METHODS: dict[type[M.MapDecl], dict[str, Any]] = {
    M.Counter: {**_TABLE, "add": _add},
    M.Table: _TABLE,
    M.Histogram: {"record": _record},
    M.Ring: {"submit": rings.submit, "reserve": rings.reserve, "discard": rings.discard},
    M.PerfRing: {"submit": rings.perf_submit},
    M.Queue: {"push": _push, "pop": _take("bpf_map_pop_elem"), "peek": _take("bpf_map_peek_elem")},
    M.Bloom: {"add": _push},
    M.ProgArray: {"tail_call": _tail},
    M.MapOfMaps: {"get": _inner},
    M.Redirect: {"redirect": _redirect},
    M.Storage: {"get": _storage(False), "get_or_create": _storage(True), "delete": _storage_delete},
    M.CgroupArray: {"has_current": _has_current},
    M.StackTrace: {},
}
"""Operations in kernel code by kind of map, subclasses first."""
