"""Calls: who is called, with which arguments."""

from __future__ import annotations

import ast
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import Value
from osmia.frontends.python import assign, helper_calls, inline, intrinsics, maps, memory, methods, numbers
from osmia.frontends.python.values import Const, KPlace, KPtr, Mem, Num, Operand, Truth
from osmia.lang import maps as M
from osmia.lang.builtins import Helper
from osmia.lang.hooks import HelperFunction, KernelFunction, Kfunc
from osmia.lang.types import IntObject, KernelType, TypeObject
from osmia.object.layout import S64, U64, Array, Int, Layout, Struct

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn

_OWN_MODULE = "osmia.lang.builtins"


def call(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    """``f(...)``."""
    if isinstance(node.func, ast.Attribute):
        recorded = _record_by_key(fn, node)
        if recorded is not None:
            return recorded
        base = fn.expr(node.func.value)
        if not _is_namespace(base):
            return methods.call(fn, base, node, want)
        callee = methods.attribute_constant(fn, base, node.func)
    elif isinstance(node.func, ast.Subscript):
        base = fn.value(node.func.value)
        decl = maps.declaration(base)
        if isinstance(decl, M.ProgArray):
            return methods.tail_call(fn, decl, fn.expr(node.func.slice), node, node.func.slice)
        callee = fn.expr(node.func)
    else:
        callee = fn.expr(node.func)
    return call_constant(fn, callee, node, want)


def _record_by_key(fn: Fn, node: ast.Call) -> Operand | None:
    """``histogram[key].record(v)``."""
    assert isinstance(node.func, ast.Attribute)
    inner = node.func.value
    if node.func.attr != "record" or not isinstance(inner, ast.Subscript) or isinstance(inner.slice, ast.Slice):
        return None
    decl = maps.declaration(fn.value(inner.value))
    if not isinstance(decl, M.Histogram):
        return None
    return methods.record(fn, decl, fn.expr(inner.slice, decl.group_layout), inner.slice, node)


def _is_namespace(base: Operand) -> bool:
    """Whether attributes of a constant are looked up by Python: modules and classes, not maps and text."""
    if not isinstance(base, Const):
        return False
    value = base.value
    return not isinstance(value, (M.MapDecl, str, bytes, dict, list, tuple, M.Buffer, KernelType)) or isinstance(
        value, type
    )


def call_constant(fn: Fn, callee: Operand, node: ast.Call, want: Layout | None) -> Operand:
    """A call of something known while compiling."""
    if not isinstance(callee, Const):
        raise fn.error("PY180", node.func, f"{callee.describe()} cannot be called")
    value = callee.value
    if isinstance(value, types.FunctionType) and value.__module__ == _OWN_MODULE:
        return intrinsics.call(fn, value.__name__, node, want)
    if isinstance(value, IntObject) or value in (bool, int):
        return _cast(fn, value, node)
    if isinstance(value, HelperFunction):
        return inline.helper_function(fn, value, node)
    if isinstance(value, Helper):
        return helper_calls.call(fn, value.name, node)
    if isinstance(value, Kfunc):
        return helper_calls.kfunc(fn, value, node)
    if isinstance(value, KernelFunction):
        raise fn.error(
            "PY181", node, f"{value.name} is a kernel program of its own",
            hint="put what they share into a @prog.func; a tail call goes through prog.prog_array",
        )  # fmt: skip
    if isinstance(value, type) and isinstance(value.__dict__.get("__layout__"), Struct):
        layout = value.__dict__["__layout__"]
        made = fn.temp(layout, value.__name__.lower())
        construct(fn, value, node, made.ptr)
        return made
    if isinstance(value, types.FunctionType):
        from copy import copy

        if value is copy:
            return _copy(fn, node)
        return inline.plain_function(fn, value, node)
    if isinstance(value, TypeObject):
        raise fn.error("PY180", node, f"{value.name} is a type, no function", hint="only integer types convert")
    return _builtin(fn, value, node, want)


def arguments(fn: Fn, node: ast.Call, name: str, least: int, most: int) -> list[ast.expr]:
    """Positional arguments of a call that takes nothing else.

    :raises CompileError: PY182 for another number of them.
    """
    for keyword in node.keywords:
        raise fn.error("PY182", keyword.value, f"{name}() takes no argument by name", hint=None)
    for item in node.args:
        if isinstance(item, ast.Starred):
            raise fn.error("PY182", item, "arguments are passed one by one")
    if not least <= len(node.args) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise fn.error(
            "PY182", node, f"{name}() takes {wanted} argument{'s' if wanted != '1' else ''}, not {len(node.args)}"
        )
    return list(node.args)


# -- conversions ------------------------------------------------------------------------------------------------------


def _cast(fn: Fn, target: Any, node: ast.Call) -> Operand:
    name = target.name if isinstance(target, IntObject) else target.__name__
    (item,) = arguments(fn, node, name, 1, 1)
    if target is bool:
        operand = fn.expr(item)
        if isinstance(operand, Const) and not isinstance(operand.value, TypeObject):
            from osmia.frontends.python.conditions import static_truth

            known = static_truth(fn, operand, item)
            if known is not None:
                return Const(known)
        return Truth(fn.truth(operand, item))
    kind = S64 if target is int else target.layout
    assert isinstance(kind, Int)
    operand = fn.value(item, kind)
    if isinstance(operand, Const) and target is int:
        try:
            return Const(int(operand.value))
        except (TypeError, ValueError, OverflowError) as error:
            raise fn.error("PY107", node, f"this constant expression has no value: {error}") from None
    if isinstance(operand, (KPtr, KPlace)) and kind.bits == 64:
        from osmia.frontends.python.kernel_fields import address, materialize

        if isinstance(operand, KPlace) and isinstance(materialize(fn, operand, item), Mem):
            return numbers.cast(fn, operand, kind, item)
        return numbers.cast(fn, Num(address(fn, operand, item), U64), kind, item)
    return numbers.cast(fn, operand, kind, item)


def _copy(fn: Fn, node: ast.Call) -> Operand:
    (item,) = arguments(fn, node, "copy", 1, 1)
    operand = fn.value(item)
    if not isinstance(operand, Mem):
        return operand
    made = fn.temp(operand.layout, "copy")
    fn.write(made.ptr, operand.layout, operand, item)
    return made


# -- structs ----------------------------------------------------------------------------------------------------------


def constructed_layout(fn: Fn, node: ast.expr) -> Layout | None:
    """The layout of what a constructor call makes; ``None`` for other expressions."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return None
    callee = fn.peek(node.func.id)
    if not isinstance(callee, Const) or not isinstance(callee.value, type):
        return None
    layout = callee.value.__dict__.get("__layout__")
    return layout if isinstance(layout, Struct) else None


def call_into(fn: Fn, node: ast.Call, pointer: Value, layout: Layout) -> bool:
    """Lets a call build its result in memory that is there; whether it did."""
    if isinstance(node.func, ast.Name):
        callee = fn.peek(node.func.id)
    elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        base = fn.peek(node.func.value.id)
        callee = None
        if isinstance(base, Const) and isinstance(base.value, types.ModuleType):
            callee = Const(getattr(base.value, node.func.attr, None))
    else:
        return False
    if not isinstance(callee, Const):
        return False
    value = callee.value
    if isinstance(value, type) and value.__dict__.get("__layout__") == layout and isinstance(layout, Struct):
        construct(fn, value, node, pointer)
        return True
    if isinstance(value, types.FunctionType) and value.__module__ == _OWN_MODULE:
        before = fn.fb.span
        fn.fb.span = fn.span(node)
        done = intrinsics.call_into(fn, value.__name__, node, pointer, layout)
        fn.fb.span = before
        return done
    return False


def construct(fn: Fn, cls: type, node: ast.Call, pointer: Value) -> None:
    """``Open(pid=1, ...)`` into memory: padding is zero, defaults fill what is not given."""
    layout: Struct = cls.__dict__["__layout__"]
    given = bound_fields(fn, cls, node)
    defaults: dict[str, Any] = cls.__dict__["__defaults_by_field__"]
    base = Mem(pointer, layout)
    if memory.padded(layout):
        fn.fb.emit("zero", pointer, size=layout.size)
    for name, item in given.items():
        field = layout.field(name)
        assert field is not None
        place = memory.part(fn, base, field.type, field.offset, name)
        assign.into(fn, item, place.pointer, field.type)
    for field in layout.fields:
        if field.name not in given:
            place = memory.part(fn, base, field.type, field.offset, field.name)
            fn.write(place.pointer, field.type, Const(defaults[field.name]), node)


def bound_fields(fn: Fn, cls: type, node: ast.Call) -> dict[str, ast.expr]:
    """The arguments of a constructor by field.

    :raises CompileError: PY183 for unknown, repeated or missing fields.
    """
    names: tuple[str, ...] = cls.__dict__["__slots__"]
    given: dict[str, ast.expr] = {}
    if len(node.args) > len(names):
        raise fn.error("PY183", node, f"{cls.__name__} has {len(names)} fields, and {len(node.args)} values are given")
    for name, item in zip(names, node.args, strict=False):
        if isinstance(item, ast.Starred):
            raise fn.error("PY182", item, "arguments are passed one by one")
        given[name] = item
    for keyword in node.keywords:
        if keyword.arg is None:
            raise fn.error("PY182", keyword.value, "arguments are passed one by one")
        if keyword.arg not in names or keyword.arg in given:
            what = "has no field" if keyword.arg not in names else "got twice the field"
            raise fn.error(
                "PY183", keyword.value, f"{cls.__name__} {what} '{keyword.arg}'", hint=f"its fields: {', '.join(names)}"
            )
        given[keyword.arg] = keyword.value
    missing = [name for name in names if name not in given and name not in cls.__dict__["__defaults_by_field__"]]
    if missing:
        raise fn.error("PY183", node, f"{cls.__name__} needs a value for {', '.join(missing)}")
    return given


# -- Python's own functions -------------------------------------------------------------------------------------------

_REFUSED = {
    "sum": "write a loop", "any": "write a loop", "all": "write a loop", "sorted": "sort in user space",
    "map": "write a loop", "filter": "write a loop", "zip": "write a loop over range()", "open": "not in the kernel",
    "input": "not in the kernel", "list": "arrays have a fixed size: [0] * 16", "dict": "use a map",
    "set": "make it a constant of the module", "tuple": "write (a, b)", "str": "format it in user space",
    "float": "the kernel has no floating point", "isinstance": "types are known while compiling",
    "getattr": "write x.name", "setattr": "write x.name = v", "round": "write (x + step // 2) // step",
    "range": "use it in a for loop, or right of `in`", "repr": "format in user space", "format": "format in user space",
    "hash": "use the value itself as a key", "id": "addr(p) is an address", "pow": "write x ** 2",
    "reversed": "write range(n - 1, -1, -1)", "iter": "write a for loop", "next": "write a for loop",
    "type": "types are known while compiling", "exec": "not in the kernel", "eval": "not in the kernel",
    "super": "there are no classes in the kernel", "bytes": "write b'...', or user_bytes()",
}  # fmt: skip


def _builtin(fn: Fn, value: Any, node: ast.Call, want: Layout | None) -> Operand:
    name = getattr(value, "__name__", type(value).__name__)
    row = _BUILTINS.get(name) if getattr(value, "__module__", "") == "builtins" else None
    if row is not None:
        return row(fn, node)
    folded = _fold(fn, value, node)
    if folded is not None:
        return folded
    hint = _REFUSED.get(name) if getattr(value, "__module__", "") == "builtins" else None
    raise fn.error(
        "PY180", node.func, f"{name} cannot be called in a kernel function",
        hint=hint or "call @prog.func functions, plain functions of the program file, and what osmia provides",
    )  # fmt: skip


_PURE = {
    ("_socket", "htons"), ("_socket", "htonl"), ("_socket", "ntohs"), ("_socket", "ntohl"), ("_socket", "inet_aton"),
    ("_socket", "inet_pton"), ("_struct", "calcsize"), ("builtins", "range"), ("builtins", "round"),
    ("builtins", "sum"), ("builtins", "pow"), ("builtins", "frozenset"), ("builtins", "tuple"), ("builtins", "str"),
    ("builtins", "float"), ("builtins", "sorted"), ("builtins", "hash"), ("builtins", "chr"), ("builtins", "bytes"),
}  # fmt: skip


def _fold(fn: Fn, value: Any, node: ast.Call) -> Operand | None:
    """A call of a pure function of Python with constants, such as ``socket.htons(80)``."""
    key = (getattr(value, "__module__", "") or "", getattr(value, "__name__", ""))
    owner = getattr(value, "__self__", None)
    is_method = isinstance(value, types.BuiltinMethodType) and owner is int and key[1] == "from_bytes"
    if key not in _PURE and not is_method:
        return None
    items = [fn.expr(item) for item in node.args]
    named = {keyword.arg: fn.expr(keyword.value) for keyword in node.keywords if keyword.arg}
    if len(named) != len(node.keywords) or not all(isinstance(item, Const) for item in (*items, *named.values())):
        return None
    try:
        plain = {name: item.value for name, item in named.items() if isinstance(item, Const)}
        return Const(value(*(item.value for item in items if isinstance(item, Const)), **plain))
    except Exception as error:  # noqa: BLE001 - whatever the function raises for these constants
        raise fn.error("PY107", node, f"this constant expression has no value: {error}") from None


def _len(fn: Fn, node: ast.Call) -> Operand:
    from osmia.frontends.python import strings
    from osmia.frontends.python.values import Group, Items

    (item,) = arguments(fn, node, "len", 1, 1)
    operand = fn.value(item)
    if strings.is_text(operand):
        return strings.length(fn, operand, item)
    if isinstance(operand, Const) and isinstance(operand.value, (list, tuple, dict, set, frozenset, range)):
        return Const(len(operand.value))
    if isinstance(operand, Group):
        return Const(len(operand.items))
    if isinstance(operand, Items):
        return Const(operand.count)
    if isinstance(operand, Mem) and isinstance(operand.layout, Array):
        return Const(operand.layout.count)
    hint = "the kernel does not know how many entries a map has" if maps.declaration(operand) else None
    raise fn.error("PY184", item, f"{operand.describe()} has no length", hint=hint)


def _least(fn: Fn, node: ast.Call, greatest: bool) -> Operand:
    name = "max" if greatest else "min"
    items = arguments(fn, node, name, 1, 16)
    if len(items) == 1:
        operand = fn.value(items[0])
        if isinstance(operand, Const) and isinstance(operand.value, (tuple, list, set, frozenset)) and operand.value:
            return Const(max(operand.value) if greatest else min(operand.value))
        raise fn.error("PY182", node, f"{name}() takes two or more numbers")
    result = fn.number(items[0])
    for item in items[1:]:
        result = _choose(fn, result, fn.number(item), greatest, node)
    return result


def _choose(fn: Fn, left: Operand, right: Operand, greatest: bool, node: ast.AST) -> Operand:
    from osmia.frontends.python.compare import compare_numbers

    if isinstance(left, Const) and isinstance(right, Const):
        return right if (right.value > left.value) is greatest and right.value != left.value else left
    kind = numbers.unify(fn, left, right, node)
    better = fn.truth(compare_numbers(fn, "gt" if greatest else "lt", right, left, node), node)
    a, b = numbers.in_type(fn, left, kind, node), numbers.in_type(fn, right, kind, node)
    return Num(fn.fb.emit("select", better, b, a, type=kind), kind)


def _abs(fn: Fn, node: ast.Call) -> Operand:
    (item,) = arguments(fn, node, "abs", 1, 1)
    number = fn.number(item)
    if isinstance(number, Const):
        return Const(abs(number.value))
    if isinstance(number, Truth):
        return Num(fn.to_int(number, S64, item), S64)
    assert isinstance(number, Num)
    if not number.type.signed:
        return number
    negative = fn.compare("slt", number.value, fn.const(0, number.type))
    negated = fn.fb.emit("neg", number.value, type=number.type)
    return Num(fn.fb.emit("select", negative, negated, number.value, type=number.type), number.type)


def _ord(fn: Fn, node: ast.Call) -> Operand:
    from osmia.frontends.python.strings import ordinal

    (item,) = arguments(fn, node, "ord", 1, 1)
    return ordinal(fn, fn.value(item), item)


def _divmod(fn: Fn, node: ast.Call) -> Operand:
    from osmia.frontends.python.values import Group

    left, right = (fn.number(item) for item in arguments(fn, node, "divmod", 2, 2))
    return Group(
        [numbers.binop(fn, ast.FloorDiv(), left, right, node), numbers.binop(fn, ast.Mod(), left, right, node)]
    )


def _print(fn: Fn, node: ast.Call) -> Operand:
    from osmia.frontends.python.prints import print_

    return print_(fn, node)


_BUILTINS: dict[str, Callable[[Fn, ast.Call], Operand]] = {
    "len": _len,
    "min": lambda fn, node: _least(fn, node, False),
    "max": lambda fn, node: _least(fn, node, True),
    "abs": _abs,
    "ord": _ord,
    "divmod": _divmod,
    "print": _print,
}
