"""Assignment in all its forms."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from osmia.diagnostics import UsageError
from osmia.frontends.python import access, maps, memory
from osmia.frontends.python.function import Poisoned
from osmia.frontends.python.numbers import binop
from osmia.frontends.python.slots import BoolSlot, NumSlot, OwnSlot, Slot, Variable, new_slot
from osmia.frontends.python.values import Const, Group, Items, Mem, Nothing, Num, Operand
from osmia.lang.program import Var
from osmia.lang.types import KernelType, layout_of
from osmia.object.layout import S64, Array, Bool, Enum, Int, Layout, Struct

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn


def assign(fn: Fn, node: ast.Assign) -> None:
    """``a = b = value``."""
    first = node.targets[0]
    if len(node.targets) == 1 and isinstance(first, ast.Name):
        assign_name(fn, first, node.value)
        return
    if len(node.targets) == 1 and isinstance(first, ast.Attribute) and _read_in_place(fn, first, node.value):
        return
    operand = fn.expr(node.value, _wanted(fn, first) if len(node.targets) == 1 else None)
    for target in node.targets:
        store(fn, target, operand, node.value)


def _read_in_place(fn: Fn, target: ast.Attribute, value: ast.expr) -> bool:
    """``e.path = user_str(p)``: reads memory straight into the field; whether that was possible."""
    from osmia.frontends.python.calls import call_into
    from osmia.lang import builtins

    if (
        not isinstance(value, ast.Call)
        or not isinstance(value.func, ast.Name)
        or not isinstance(target.value, ast.Name)
    ):
        return False
    callee = fn.peek(value.func.id)
    readers = (builtins.user_str, builtins.kernel_str, builtins.user_bytes, builtins.kernel_bytes, builtins.comm)
    if not isinstance(callee, Const) or callee.value not in readers:
        return False
    place = access.attribute_place(fn, target)
    place.check_writable(fn, target)
    return call_into(fn, value, place.pointer, place.layout)


def annotated(fn: Fn, node: ast.AnnAssign) -> None:
    """``x: u64 = value``."""
    if not isinstance(node.target, ast.Name):
        raise fn.error("PY160", node.target, "only variables are annotated", hint="the field has its type already")
    name = node.target.id
    known = fn.scope.variables.get(name)
    if known is not None and known.slot is not None:
        raise fn.error(
            "PY161", node.target, f"'{name}' has its type already", notes=[("first assigned here", known.span)]
        )
    layout = annotation_layout(fn, node.annotation)
    variable = Variable(name, fn.span(node.target))
    fn.scope.variables[name] = variable
    if layout is not None:
        variable.slot = slot_for(fn, name, layout)
    if node.value is not None:
        if layout is None:
            store_name(fn, node.target, fn.expr(node.value), node.value)
        else:
            _into_slot(fn, variable, node.value, layout, node.value)
            fn.flow.bound.add(variable)


def annotation_layout(fn: Fn, node: ast.expr) -> Layout | None:
    """The layout that an annotation inside a function names; ``None`` for kernel types and ``Any``.

    :raises CompileError: PY162 when it names no type.
    """
    try:
        value = eval(  # the annotation is the program file's own code
            compile(ast.Expression(node), fn.scope.file.name, "eval"), fn.scope.globals, fn.scope.closure
        )
        if isinstance(value, str):
            value = eval(value, fn.scope.globals, fn.scope.closure)
    except Exception as error:  # noqa: BLE001 - whatever the annotation's expression raises
        raise fn.error("PY162", node, f"this annotation cannot be evaluated: {error}") from None
    if isinstance(value, KernelType) or getattr(value, "__module__", "") == "typing" or value is object:
        return None
    try:
        return layout_of(value, "this variable")
    except UsageError as error:
        raise fn.error("PY162", node, error.message, hint=error.hint) from None


def slot_for(fn: Fn, name: str, layout: Layout) -> Slot:
    """A slot of a declared type."""
    if isinstance(layout, (Int, Enum)):
        return NumSlot(fn, name, layout.base if isinstance(layout, Enum) else layout, declared=True)
    if isinstance(layout, Bool):
        return BoolSlot(fn, name)
    return OwnSlot(fn, name, layout)


def _wanted(fn: Fn, target: ast.expr) -> Layout | None:
    """The layout of an assignment target, where it is known before anything is evaluated."""
    if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
        base = fn.peek(target.value.id)
        decl = maps.declaration(base) if base is not None else None
        if decl is not None:
            return decl.value_layout
        if isinstance(base, Mem) and isinstance(base.layout, Array):
            return base.layout.element
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        base = fn.peek(target.value.id)
        if isinstance(base, Mem) and isinstance(base.layout, Struct):
            found = base.layout.field(target.attr)
            return None if found is None else found.type
        if isinstance(base, Const) and isinstance(base.value, Var):
            return base.value.layout
    return None


def assign_name(fn: Fn, target: ast.Name, value: ast.expr) -> None:
    """``x = value``; what makes its own memory is made in the variable's."""
    variable = fn.scope.variables.get(target.id)
    if variable is None or variable.slot is None:
        from osmia.frontends.python.calls import constructed_layout

        layout = constructed_layout(fn, value)
        if layout is not None:
            # The value cannot refer to the variable, which has none yet: it is built in place.
            variable = Variable(target.id, fn.span(target))
            variable.slot = OwnSlot(fn, target.id, layout)
            place = variable.slot.load(fn, target.id)
            assert isinstance(place, Mem)
            into(fn, value, place.ptr, layout)
            fn.scope.variables[target.id] = variable
            fn.flow.bound.add(variable)
            return
    slot = None if variable is None else variable.slot
    want = None
    if isinstance(slot, OwnSlot):
        want = slot.layout
    elif isinstance(slot, NumSlot):
        want = slot.type
    store_name(fn, target, fn.expr(value, want), value)


def _into_slot(fn: Fn, variable: Variable, value: ast.expr, layout: Layout, node: ast.AST) -> None:
    slot = variable.slot
    assert slot is not None
    if isinstance(slot, OwnSlot):
        place = slot.load(fn, variable.name)
        assert isinstance(place, Mem)
        into(fn, value, place.ptr, layout)
        return
    operand = fn.value(value, layout)
    # A declared type takes the low bits of any number.
    if isinstance(slot, NumSlot):
        fn.fb.set(slot.local, fn.to_int(operand, slot.type, node))
    else:
        assert isinstance(slot, BoolSlot)
        fn.fb.set(slot.local, memory.to_bool(fn, operand, node))


def into(fn: Fn, node: ast.expr, pointer: object, layout: Layout) -> None:
    """Evaluates an expression straight into memory where that saves a copy."""
    from osmia.compiler.ir import Value
    from osmia.frontends.python.calls import call_into

    assert isinstance(pointer, Value)
    if isinstance(node, ast.Call) and call_into(fn, node, pointer, layout):
        return
    fn.write(pointer, layout, fn.value(node, layout), node)


def store(fn: Fn, target: ast.expr, operand: Operand, value_node: ast.expr) -> None:
    """Stores an operand in an assignment target."""
    from osmia.frontends.python.tables import TARGETS

    TARGETS[type(target)](fn, target, operand, value_node)


def store_name(fn: Fn, target: ast.expr, operand: Operand, value_node: ast.AST) -> None:
    """Stores an operand in a variable, which takes the first value's type."""
    assert isinstance(target, ast.Name)
    name = target.id
    if name not in fn.scope.names:
        raise fn.error("PY163", target, f"'{name}' is a global variable of Python", hint="share a value with prog.var")
    if isinstance(operand, Nothing):
        raise fn.error("PY164", value_node, "this call has no result to assign")
    if isinstance(operand, Const) and isinstance(operand.value, float):
        fn.as_number(operand, value_node)
    fn.scope.poisoned.discard(name)
    variable = fn.scope.variables.get(name)
    if variable is None:
        variable = Variable(name, fn.span(target))
        fn.scope.variables[name] = variable
    if isinstance(operand, Items):
        operand = _own_list(fn, variable, operand, value_node)
    if variable.slot is None:
        variable.slot = new_slot(fn, name, operand, value_node)
    elif not variable.slot.accepts(operand):
        raise _retyped(fn, variable, operand, value_node)
    variable.slot.store(fn, operand, value_node)
    fn.flow.bound.add(variable)
    fn.flow.gone.pop(variable, None)


def _own_list(fn: Fn, variable: Variable, operand: Items, node: ast.AST) -> Operand:
    """A list display becomes an array of its own."""
    slot = variable.slot
    if slot is None:
        variable.slot = slot = OwnSlot(fn, variable.name, list_layout(fn, operand, node))
    if not isinstance(slot, OwnSlot):
        raise _retyped(fn, variable, operand, node)
    scratch = fn.temp(slot.layout, "list")
    fn.write(scratch.ptr, slot.layout, operand, node)
    return scratch


def list_layout(fn: Fn, operand: Items, node: ast.AST) -> Layout:
    """The layout of a list display: the elements' common number type, or their own layout."""
    from osmia.frontends.python.numbers import join, literal_join

    found: Int | None = None
    if not operand.items:
        raise fn.error("PY124", node, "an empty list has no use: arrays have a fixed size", hint="write [0] * 16")
    for item in operand.items:
        if isinstance(item, Mem):
            return Array(item.layout, operand.count)
        number = fn.as_number(item, node)
        if isinstance(number, Num):
            found = number.type if found is None else join(found, number.type)
    if found is None:
        values = [int(item.value) for item in operand.items if isinstance(item, Const)]
        found = fn.literal_type(min(values), node) if min(values) < 0 else fn.literal_type(max(values), node)
        found = literal_join(fn, max(values), found, node) if values else S64
    return Array(found, operand.count)


def _retyped(fn: Fn, variable: Variable, operand: Operand, node: ast.AST) -> Exception:
    assert variable.slot is not None
    notes = [(f"'{variable.name}' got its type here: {variable.slot.text()}", variable.span)]
    hint = "use another variable"
    if isinstance(operand, Num) and isinstance(variable.slot, NumSlot):
        wider = f"{variable.name}: {operand.type} = ..."
        hint = f"annotate the first assignment: {wider}, or cut it: {variable.slot.text()}(...)"
    elif isinstance(variable.slot, BoolSlot):
        hint = "write bool(x), or use another variable"
    elif isinstance(operand, Const) and operand.value is None:
        hint = f"let the variable start with None: {variable.name} = None"
    elif isinstance(variable.slot, OwnSlot):
        hint = f"annotate the first assignment with a larger type: {variable.name}: Char[64] = ..."
    return fn.error(
        "PY210", node, f"'{variable.name}' holds {variable.slot.text()}, and this is {operand.describe()}",
        hint=hint, notes=list(notes),
    )  # fmt: skip


def store_attribute(fn: Fn, target: ast.expr, operand: Operand, value_node: ast.AST) -> None:
    """``x.field = value``."""
    assert isinstance(target, ast.Attribute)
    access.attribute_place(fn, target).write(fn, operand, value_node)


def store_element(fn: Fn, target: ast.expr, operand: Operand, value_node: ast.AST) -> None:
    """``x[i] = value``."""
    assert isinstance(target, ast.Subscript)
    base = fn.value(target.value)
    decl = maps.declaration(base)
    if decl is not None and not isinstance(target.slice, ast.Slice):
        key = fn.expr(target.slice, decl.key_layout)
        maps.assign(fn, base, key, operand, target.slice, value_node, target)
        return
    access.element_place(fn, base, target).write(fn, operand, value_node)


def store_group(fn: Fn, target: ast.expr, operand: Operand, value_node: ast.expr) -> None:
    """``a, b = value``."""
    assert isinstance(target, (ast.Tuple, ast.List))
    for item in target.elts:
        if isinstance(item, ast.Starred):
            raise fn.error("PY165", item, "a starred target would be a list of unknown length")
    parts = unpack(fn, fn.unwrap(operand, value_node), len(target.elts), value_node)
    if len(parts) > 1:
        parts = [_settled(fn, part, value_node) for part in parts]
    for item, part in zip(target.elts, parts, strict=True):
        store(fn, item, part, value_node)


def _settled(fn: Fn, part: Operand, node: ast.AST) -> Operand:
    """A part that later parts' stores cannot change: ``a, b = b, a`` of text."""
    if isinstance(part, Mem) and part.owned:
        copy = fn.temp(part.layout, "part")
        fn.write(copy.ptr, part.layout, part, node)
        return copy
    return part


def unpack(fn: Fn, operand: Operand, count: int, node: ast.AST) -> list[Operand]:
    """The parts of a tuple, array or constant."""
    parts: list[Operand]
    if isinstance(operand, Const) and isinstance(operand.value, (tuple, list)):
        parts = [Const(item) for item in operand.value]
    elif isinstance(operand, Group):
        parts = operand.items
    elif isinstance(operand, Items):
        parts = operand.items * operand.times
    elif isinstance(operand, Mem) and isinstance(operand.layout, Struct) and operand.layout.name == "tuple":
        parts = memory.as_group(fn, operand).items
    elif isinstance(operand, Mem) and isinstance(operand.layout, Array):
        parts = [memory.element(fn, operand, Const(at), node).read(fn) for at in range(operand.layout.count)]
    else:
        raise fn.error("PY165", node, f"{operand.describe()} cannot be taken apart")
    if len(parts) != count:
        raise fn.error("PY165", node, f"{len(parts)} values for {count} targets")
    return parts


# -- augmented ------------------------------------------------------------------------------------------------------


def augmented(fn: Fn, node: ast.AugAssign) -> None:
    """``x op= value``."""
    target = node.target
    if isinstance(target, ast.Name):
        left = fn.value(_load(target))
        right = fn.value(node.value)
        store_name(
            fn, target, _fit(fn, target, binop(fn, node.op, left, right, node, (target, node.value)), right), node
        )
    elif isinstance(target, ast.Attribute):
        place = access.attribute_place(fn, target)
        memory.update(fn, place, node.op, fn.value(node.value), node, node.value)
    else:
        base = fn.value(target.value)
        decl = maps.declaration(base)
        if decl is not None and not isinstance(target.slice, ast.Slice):
            key = fn.expr(target.slice, decl.key_layout)
            maps.update(fn, base, key, node.op, fn.value(node.value), target.slice, node, node.value)
            return
        place = access.element_place(fn, base, target)
        memory.update(fn, place, node.op, fn.value(node.value), node, node.value)


def _fit(fn: Fn, target: ast.Name, result: Operand, right: Operand) -> Operand:
    """``n += x`` keeps the type of ``n`` where ``x`` is not wider."""
    variable = fn.scope.variables.get(target.id)
    slot = None if variable is None else variable.slot
    if not isinstance(slot, NumSlot) or not isinstance(result, Num) or result.type.bits <= slot.type.bits:
        return result
    if isinstance(right, Num) and right.type.bits > slot.type.bits:
        return result
    return Num(fn.to_int(result, slot.type, target), slot.type)


def _load(target: ast.Name) -> ast.Name:
    return ast.copy_location(ast.Name(target.id, ast.Load()), target)


def name_value(fn: Fn, node: ast.expr, want: Layout | None) -> Operand:
    """A name as a value: a variable, or a constant of Python."""
    assert isinstance(node, ast.Name)
    name = node.id
    scope = fn.scope
    if name not in scope.names:
        return fn.constant(name, node)
    if name in scope.poisoned:
        raise Poisoned
    variable = scope.variables.get(name)
    if variable is not None and variable in fn.flow.gone:
        raise fn.error("PY166", node, f"'{name}' is gone: {fn.flow.gone[variable]}", hint="use it before that")
    if variable is None or variable.slot is None or variable not in fn.flow.bound:
        notes = [] if variable is None else [("assigned here", variable.span)]
        raise fn.error(
            "PY166", node, f"'{name}' may have no value here", hint="assign it on every way here", notes=list(notes)
        )
    return variable.slot.load(fn, name)


def named_expression(fn: Fn, node: ast.expr, want: Layout | None) -> Operand:
    """``(x := value)``."""
    assert isinstance(node, ast.NamedExpr)
    assign_name(fn, node.target, node.value)
    return fn.expr(_load(node.target), want)
