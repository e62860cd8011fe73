"""Attributes and elements: ``x.name``, ``x[i]``, read and assigned."""

from __future__ import annotations

import ast
import types
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import Space
from osmia.diagnostics.text import did_you_mean
from osmia.frontends.python import contexts, globals, kernel_fields, maps, memory, strings
from osmia.frontends.python.memory import Place
from osmia.frontends.python.values import (
    Const,
    Context,
    Group,
    Items,
    KPlace,
    KPtr,
    Mem,
    Operand,
)
from osmia.lang import maps as M
from osmia.lang.program import Option, Var
from osmia.lang.types import KernelName, KernelType
from osmia.object.layout import Array, Bytes, Char, Layout, Struct

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn

_MAX_PLAIN = (int, str, bytes, float, tuple, bool, type(None))


def attribute(fn: Fn, node: ast.Attribute, want: Layout | None) -> Operand:
    """``x.name`` as a value."""
    return attribute_of(fn, fn.value(node.value), node)


def attribute_of(fn: Fn, base: Operand, node: ast.Attribute) -> Operand:
    """An attribute of an operand."""
    if isinstance(base, Const):
        return constant_attribute(fn, base.value, node)
    if isinstance(base, Mem):
        if base.space is Space.MEM and contexts.is_socket(base.layout):
            return contexts.socket_field(fn, base, node.attr, node).read(fn)
        return memory.field(fn, base, node.attr, node).read(fn)
    if isinstance(base, (KPtr, KPlace)):
        return kernel_fields.attribute(fn, base, node.attr, node)
    if isinstance(base, Context):
        return contexts.attribute(fn, base, node)
    hint = None
    if isinstance(base, (Group, Items)):
        hint = "its parts are t[0], t[1]..."
    raise fn.error("PY122", node, f"{base.describe()} has no attribute {node.attr!r}", hint=hint)


def constant_attribute(fn: Fn, value: Any, node: ast.Attribute) -> Operand:
    """An attribute of a Python object known while compiling.

    :raises CompileError: PY151 when it has none of that name, or reading it would run code.
    """
    name = node.attr
    if isinstance(value, (Var, Option)):
        if name == "value":
            return value_place(fn, value, node).read(fn)
        raise fn.error("PY151", node, f"{value!r} has no attribute {name!r} in the kernel", hint="read its `.value`")
    if isinstance(value, KernelType):
        return Const(KernelName(value, name))
    if isinstance(value, KernelName):
        raise fn.error("PY151", node, f"{value!r} is a name, no object", hint="field_exists() takes such a path")
    if isinstance(value, M.MapDecl):
        raise fn.error("PY152", node, f"{name!r} of a map is an operation", hint=f"call it: {value.name}.{name}(...)")
    if isinstance(value, types.ModuleType):
        if name not in vars(value) and not hasattr(value, name):
            near = did_you_mean(name, vars(value))
            raise fn.error("PY151", node, f"module {value.__name__} has no {name!r}", hint=near)
        return Const(getattr(value, name))
    if isinstance(value, type):
        for cls in value.__mro__:
            if name in vars(cls):
                found = vars(cls)[name]
                members = getattr(value, "__members__", {})
                return Const(members.get(name, found))
        raise fn.error("PY151", node, f"class {value.__name__} has no {name!r}", hint=did_you_mean(name, vars(value)))
    if isinstance(value, int) and hasattr(type(value), "__members__") and name in ("value", "name"):
        return Const(int(value) if name == "value" else value.name)  # type: ignore[attr-defined]
    own = _own_attributes(value)
    if name in own:
        return Const(own[name])
    kind = type(value).__name__
    raise fn.error("PY151", node, f"{kind} has no attribute {name!r} that is known while compiling", hint=None)


def _own_attributes(value: Any) -> dict[str, Any]:
    """Attributes that can be read without running code: an object's dict, slots of structs, fields of named tuples."""
    found = dict(getattr(value, "__dict__", None) or {})
    for name in getattr(type(value), "__slots__", ()):
        if isinstance(name, str) and hasattr(type(value), "__layout__"):
            found[name] = getattr(value, name)
    for name in getattr(value, "_fields", ()) if isinstance(value, tuple) else ():
        found[name] = getattr(value, name)
    return found


def value_place(fn: Fn, value: Var[Any] | Option[Any], node: ast.AST) -> Place:
    """``x.value`` of a variable or an option."""
    return globals.option_place(fn, value) if isinstance(value, Option) else globals.variable_place(fn, value, node)


# -- elements -------------------------------------------------------------------------------------------------------


def subscript(fn: Fn, node: ast.Subscript, want: Layout | None) -> Operand:
    """``x[i]`` as a value."""
    base = fn.value(node.value)
    decl = maps.declaration(base)
    if isinstance(node.slice, ast.Slice):
        return _slice(fn, base, node)
    if decl is not None:
        if isinstance(decl, M.Histogram):
            raise fn.error("PY152", node, "a histogram's entry is only recorded to", hint=f"{decl.name}[k].record(v)")
        if isinstance(decl, (M.Storage, M.Redirect, M.StackTrace, M.CgroupArray, M.MapOfMaps, M.Buffer)):
            raise fn.error("PY152", node, f"a {decl.kind} map is not read by index", hint="see its methods")
        return maps.item(fn, base, fn.expr(node.slice, decl.key_layout), node.slice, node)
    return element_of(fn, base, fn.value(node.slice), node)


def element_of(fn: Fn, base: Operand, at: Operand, node: ast.Subscript) -> Operand:
    """An element of an operand that is no map."""
    if isinstance(base, Group):
        if not isinstance(at, Const) or not isinstance(at.value, int):
            raise fn.error("PY120", node.slice, "a part of a tuple is named by a constant")
        if not -len(base.items) <= at.value < len(base.items):
            raise fn.error("PY120", node.slice, f"there is no index {at.value} in a tuple of {len(base.items)}")
        return base.items[at.value]
    if isinstance(base, Const):
        value = base.value
        if isinstance(value, (list, tuple)):
            return globals.index_sequence(fn, value, at, node)
        if isinstance(value, dict):
            return globals.index_dict(fn, value, at, None, node.slice, node)
        if isinstance(value, (str, bytes)) and isinstance(at, Const):
            return strings.character(fn, base, at, node.value, node.slice)
    if isinstance(base, KPlace):
        return kernel_fields.index(fn, base, at, node)
    if isinstance(base, Context):
        return contexts.element(fn, base, at, node)
    if strings.is_text(base):
        return strings.character(fn, base, at, node.value, node.slice)
    if isinstance(base, Mem):
        return _memory_element(fn, base, at, node).read(fn)
    hint = "kernel_read(p, u32) reads a value at an address" if isinstance(base, KPtr) else None
    raise fn.error("PY133", node, f"{base.describe()} cannot be indexed", hint=hint)


def _memory_element(fn: Fn, base: Mem, at: Operand, node: ast.Subscript) -> Place:
    if isinstance(base.layout, Array):
        return memory.element(fn, base, at, node.slice)
    if isinstance(base.layout, Struct) and base.layout.name == "tuple":
        return memory.tuple_part(fn, base, at, node.slice)
    raise fn.error("PY133", node, f"{base.describe()} cannot be indexed")


def _slice(fn: Fn, base: Operand, node: ast.Subscript) -> Operand:
    assert isinstance(node.slice, ast.Slice)
    bounds = []
    for part in (node.slice.lower, node.slice.upper, node.slice.step):
        bound = Const(None) if part is None else fn.expr(part)
        if not isinstance(bound, Const) or not isinstance(bound.value, (int, type(None))):
            raise fn.error("PY153", part or node, "slices are of constants and by constants")
        bounds.append(bound.value)
    if isinstance(base, Const) and isinstance(base.value, (str, bytes, tuple, list, range)):
        try:
            return Const(base.value[slice(*bounds)])
        except ValueError as error:
            raise fn.error("PY107", node, f"this constant expression has no value: {error}") from None
    raise fn.error(
        "PY153", node, "slices are of constants only",
        hint="compare a text's start with startswith(); copy parts of arrays in a loop",
    )  # fmt: skip


# -- assignment targets ---------------------------------------------------------------------------------------------


def attribute_place(fn: Fn, node: ast.Attribute) -> Place:
    """Where ``x.name = ...`` stores.

    :raises CompileError: PY121 for what cannot be assigned.
    """
    base = fn.value(node.value)
    if isinstance(base, Const) and isinstance(base.value, (Var, Option)) and node.attr == "value":
        return value_place(fn, base.value, node)
    if isinstance(base, Mem) and base.space is Space.MEM and contexts.is_socket(base.layout):
        return contexts.socket_field(fn, base, node.attr, node)
    if isinstance(base, Mem):
        return memory.field(fn, base, node.attr, node)
    if isinstance(base, Context):
        return contexts.place(fn, base, node)
    if isinstance(base, (KPtr, KPlace)):
        raise fn.error(
            "PY121", node, "kernel objects cannot be written", hint="programs change them through kfuncs only"
        )
    raise fn.error("PY121", node, f"attributes of {base.describe()} cannot be assigned")


def element_place(fn: Fn, base: Operand, node: ast.Subscript) -> Place:
    """Where ``x[i] = ...`` stores, for what is no map."""
    if isinstance(node.slice, ast.Slice):
        raise fn.error("PY153", node, "slices cannot be assigned", hint="assign the elements in a loop")
    if isinstance(base, Context):
        return contexts.element_place(fn, base, fn.value(node.slice), node)
    if isinstance(base, Mem) and not isinstance(base.layout, (Char, Bytes)):
        return _memory_element(fn, base, fn.value(node.slice), node)
    hint = None
    if isinstance(base, Const) and isinstance(base.value, (list, dict)):
        hint = "constants of the module are fixed in the kernel: use prog.var or a map"
    elif isinstance(base, Mem):
        hint = "text and bytes are immutable, as in Python: use an Array[u8, n]"
    raise fn.error("PY121", node, f"elements of {base.describe()} cannot be assigned", hint=hint)
