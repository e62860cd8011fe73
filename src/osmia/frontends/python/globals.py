"""Variables shared with user space, options, and tables made of Python constants."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import Ptr, Space
from osmia.frontends.python.memory import Place, element
from osmia.frontends.python.values import Const, Mem, Operand
from osmia.lang.program import Option, Var
from osmia.lang.types import KernelName
from osmia.object.layout import S64, U64, Array, Char, Int, Layout

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn
    from osmia.frontends.python.unit import Unit

OPTION_PREFIX = "osmia_option_"
_COMPARED = 8


def declare_variable(unit: Unit, variable: Var[Any]) -> None:
    """The global of a shared variable: zeros go to ``.bss``."""
    raw = variable.layout.pack(variable.initial) if variable.initial is not None else b""
    section = ".rodata" if getattr(variable, "frozen", False) else ".data" if any(raw) else ".bss"
    unit.variable(variable.name, variable.layout, section, raw)


def variable_place(fn: Fn, variable: Var[Any], node: ast.AST) -> Place:
    """``x.value`` of a shared variable."""
    frozen = bool(getattr(variable, "frozen", False))
    if not frozen and variable not in fn.unit.decl.variables:
        raise fn.error("PY140", node, f"{variable!r} belongs to another program")
    declare_variable(fn.unit, variable)
    pointer = fn.fb.emit("global.addr", type=Ptr(Space.GLOBAL, variable.layout), name=variable.name)
    why = "this variable is fixed while the program runs" if frozen else ""
    return Place(pointer, variable.layout, not frozen, why, (pointer, variable.layout.size, 0))


def option_place(fn: Fn, option: Option[Any]) -> Place:
    """``x.value`` of an option."""
    name = OPTION_PREFIX + option.name
    fn.unit.variable(name, option.layout, ".rodata", option.layout.pack(option.default))
    pointer = fn.fb.emit("global.addr", type=Ptr(Space.GLOBAL, option.layout), name=name)
    return Place(pointer, option.layout, False, f"option {option.name} is fixed while the program runs")


def sequence_layout(fn: Fn, values: Any, node: ast.AST) -> Array:
    """The layout of a constant list or tuple: all numbers, or all text.

    :raises CompileError: PY142 when its elements have no common type.
    """
    items = list(values)
    if items and all(isinstance(item, int) for item in items):
        return Array(_common(fn, items, node), len(items))
    if items and all(isinstance(item, str) for item in items):
        size = max(len(item.encode()) for item in items) + 1
        return Array(Char(size), len(items))
    made = getattr(type(items[0]), "__layout__", None) if items else None
    if made is not None and all(type(item) is type(items[0]) for item in items):
        return Array(made, len(items))
    raise fn.error(
        "PY142", node, "the elements of this constant have no common type",
        hint="a table holds numbers, text, or structs of one class; and at least one",
    )  # fmt: skip


def _common(fn: Fn, items: list[int], node: ast.AST) -> Int:
    low, high = min(items), max(items)
    for kind in (S64, U64):
        least, most = kind.range()
        if least <= low and high <= most:
            return kind
    raise fn.error("PY105", node, "these numbers do not fit 64 bits")


def constant_table(fn: Fn, values: Any, layout: Layout, node: ast.AST) -> Mem:
    """A constant as read-only memory."""
    try:
        raw = layout.pack(values)
    except (TypeError, ValueError, AttributeError) as error:
        raise fn.error("PY142", node, f"this constant has no layout: {error}") from None
    from osmia.frontends.python.strings import constant

    return Mem(constant(fn, raw, layout), layout, writable=False)


def index_sequence(fn: Fn, values: Any, at: Operand, node: ast.AST) -> Operand:
    """``TABLE[i]`` of a constant list or tuple."""
    if isinstance(at, Const):
        try:
            return Const(values[at.value])
        except (IndexError, TypeError) as error:
            raise fn.error("PY120", node, f"this constant has no such element: {error}") from None
    table = constant_table(fn, list(values), sequence_layout(fn, values, node), node)
    return element(fn, table, at, node).read(fn)


def contains(fn: Fn, values: Any, item: Any, node: ast.AST) -> bool:
    """``item in values`` for constants."""
    try:
        return item in values
    except TypeError as error:
        raise fn.error("PY107", node, f"this constant expression has no value: {error}") from None


def index_dict(
    fn: Fn, values: dict[Any, Any], key: Operand, default: Operand | None, key_node: ast.AST, node: ast.AST
) -> Operand:
    """``NAMES[x]`` and ``NAMES.get(x, default)`` of a constant dict; a missing key is a run-time error."""
    if isinstance(key, Const) and not isinstance(key.value, KernelName):
        if contains(fn, values, key.value, key_node):
            return Const(values[key.value])
        if default is not None:
            return default
        raise fn.error("PY120", node, f"this dict has no key {key.value!r}")
    if not values:
        if default is None:
            raise fn.error("PY120", node, "this dict is empty")
        return default
    return _choose(fn, values, key, default, key_node, node)


def _choose(
    fn: Fn, values: dict[Any, Any], key: Operand, default: Operand | None, key_node: ast.AST, node: ast.AST
) -> Operand:
    """Compares with every key; the results lie in a table, so that they meet in one type."""
    from osmia.frontends.python.compare import compare
    from osmia.frontends.python.joins import Join
    from osmia.frontends.python.values import Num

    join = Join(fn, node)
    if len(values) > _COMPARED and all(isinstance(item, int) for item in values):
        number = fn.as_number(key, key_node)
        if isinstance(number, Num):
            low, high = number.type.range()
            arms = [(int(item), fn.blocks("case")[0], value) for item, value in values.items() if low <= item <= high]
            (missing,) = fn.blocks("missing")
            for _, block, _ in arms:
                fn.note(block)
            fn.note(missing)
            cases = tuple((item, block.label) for item, block, _ in arms)
            fn.fb.emit("switch", number.value, cases=cases, default=missing.label)
            fn.live = False
            for _, block, value in arms:
                fn.enter(block)
                join.add(Const(value))
            fn.enter(missing)
            _missing(fn, default, join, node)
            return join.finish()
    for item, value in values.items():
        found, following = fn.blocks("found", "next")
        fn.condbr(fn.truth(compare(fn, ast.Eq(), key, Const(item), key_node, node), node), found, following)
        fn.enter(found)
        join.add(Const(value))
        fn.enter(following)
    _missing(fn, default, join, node)
    return join.finish()


def _missing(fn: Fn, default: Operand | None, join: Any, node: ast.AST) -> None:
    if default is None:
        fn.fail("key missing in a constant dict", node)
    else:
        join.add(default)
