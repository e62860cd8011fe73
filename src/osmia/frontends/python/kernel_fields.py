"""Kernel objects: fields by CO-RE, loaded directly where the verifier knows the type and by probe reads elsewhere."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import KArray, KType, Ptr, Space, Value
from osmia.diagnostics.text import did_you_mean
from osmia.frontends.python.memory import proven_index, read, scalar_type
from osmia.frontends.python.values import Const, KPlace, KPtr, Mem, Num, Operand, ktype_text
from osmia.lang.types import KernelName, KernelType
from osmia.object.layout import S64, U64, Array, Bool, Bytes, Char, Enum, Int, Layout

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn
    from osmia.frontends.python.kernel_types import Member

_DIRECT = (Space.BTF, Space.CTX)
_LISTED = 24


def ktype_of(fn: Fn, name: str, node: ast.AST) -> KType:
    """The kernel type of a name.

    :raises CompileError: PY130 when the kernel has no such type.
    """
    found = fn.unit.kernel(fn, node).named(name)
    if found is None:
        near = fn.unit.kernel(fn, node).near(name)
        raise fn.error(
            "PY130", node, f"the kernel has no type {name!r}", hint=f"near it: {', '.join(near)}" if near else None
        )
    return found


def member_of(fn: Fn, owner: KType, name: str, node: ast.AST) -> Member:
    """A member of a kernel struct.

    :raises CompileError: PY131 when there is none; the error lists the fields.
    """
    kernel = fn.unit.kernel(fn, node)
    found = kernel.member(owner, name)
    if found is not None:
        return found
    members = kernel.member_names(owner)
    if not members:
        raise fn.error("PY131", node, f"{owner} has no fields (its definition is not in the kernel's BTF)")
    near = did_you_mean(name, members)
    listed = ", ".join(members[:_LISTED]) + (", ..." if len(members) > _LISTED else "")
    raise fn.error(
        "PY131", node, f"{owner} has no field {name!r}", hint=f"{near + ' ' if near else ''}its fields: {listed}"
    )


def attribute(fn: Fn, base: KPtr | KPlace, name: str, node: ast.AST) -> Operand:
    """``task.real_parent``."""
    if isinstance(base, KPtr):
        if not isinstance(base.to, KType):
            hint = (
                "kernel_read(p, u32) reads a value there" if base.space is not Space.USER else "user_read(p, u32) reads"
            )
            raise fn.error("PY131", node, f"{base.describe()} has no fields", hint=hint)
        owner, root, steps, pointer = base.to, base.to, (), base.value
    else:
        if not isinstance(base.type, KType):
            raise fn.error("PY131", node, f"{base.describe()} has no fields", hint="index it first: x[0]")
        owner, root, steps, pointer = base.type, base.base, base.steps, base.ptr
    member = member_of(fn, owner, name, node)
    return _reach(fn, pointer, root, (*steps, (name, member.type)), member, node)


def _reach(
    fn: Fn, pointer: Value, root: KType, steps: tuple[Any, ...], member: Member | None, node: ast.AST
) -> Operand:
    type_ = steps[-1][1]
    if type_ is None:
        raise fn.error(
            "PY132", node, "this field has no type that programs can read", hint="floating point or a function"
        )
    if member is not None and member.bits:
        base = scalar_type(type_)
        width = base if isinstance(base, Int) else Int(8)
        value = fn.fb.emit("core.bitfield", pointer, type=width, base=root, steps=steps)
        from osmia.frontends.python.values import Truth

        if isinstance(base, Bool):
            return Truth(fn.compare("ne", value, fn.const(0, width)))
        return Num(value, width)
    if isinstance(type_, (KType, KArray, Char, Bytes)):
        return KPlace(pointer, root, steps, type_)
    return _load(fn, _field(fn, pointer, root, steps), type_, node)


def _space(pointer: Value) -> Space:
    assert isinstance(pointer.type, Ptr)
    return pointer.type.space


def _field(fn: Fn, pointer: Value, root: KType, steps: tuple[Any, ...]) -> Value:
    if not steps:
        return pointer
    kind = Ptr(_space(pointer), steps[-1][1])
    return fn.fb.emit("core.field", pointer, type=kind, base=root, steps=steps)


def _load(fn: Fn, pointer: Value, type_: Any, node: ast.AST) -> Operand:
    """The scalar or pointer at a kernel address."""
    space = _space(pointer)
    if isinstance(type_, Ptr):
        return _load_pointer(fn, pointer, type_, node)
    if space in _DIRECT:
        return read(fn, pointer, type_)
    scalar = scalar_type(type_)
    assert scalar is not None
    if space is Space.USER:
        return read_user(fn, pointer, scalar, node)
    value = fn.fb.emit("read.value", pointer, type=scalar)
    return _scalar(value)


def _scalar(value: Value) -> Operand:
    from osmia.frontends.python.values import Truth

    return Num(value, value.type) if isinstance(value.type, Int) else Truth(value)


def _load_pointer(fn: Fn, pointer: Value, type_: Ptr, node: ast.AST) -> Operand:
    space = _space(pointer)
    if space in _DIRECT:
        target = type_
        if space is Space.BTF and type_.space is Space.KERNEL and _is_composite(fn, type_.to, node):
            target = Ptr(Space.BTF, type_.to)
            pointer = fn.fb.emit("cast.ptr", pointer, type=Ptr(space, target))
        return KPtr(fn.load(pointer, target), type_.to)
    if space is Space.USER:
        number = read_user(fn, pointer, U64, node)
        assert isinstance(number, Num)
        return KPtr(fn.fb.emit("int.to.ptr", number.value, type=Ptr(Space.USER, type_.to)), type_.to)
    return KPtr(fn.fb.emit("read.value", pointer, type=type_), type_.to)


def _is_composite(fn: Fn, type_: Any, node: ast.AST) -> bool:
    return isinstance(type_, KType) and fn.unit.kernel(fn, node).composite(type_) is not None


def read_user(fn: Fn, pointer: Value, layout: Layout, node: ast.AST) -> Operand:
    """A value in user memory; a fault gives zero and is counted."""
    target = fn.temp(layout, "user")
    result = fn.fb.emit("read.user", target.ptr, pointer, type=S64, size=layout.size)
    fn.unit.count_fault(fn, result)
    return read(fn, target.ptr, layout)


def index(fn: Fn, base: KPlace, at: Operand, node: ast.AST) -> Operand:
    """``mask.bits[0]``: an element of an array inside a kernel object."""
    if isinstance(base.type, (Char, Bytes)):
        from osmia.frontends.python.strings import character

        return character(fn, base, at, node, node)
    if not isinstance(base.type, KArray):
        raise fn.error("PY133", node, f"{base.describe()} cannot be indexed")
    kind = base.type
    if isinstance(at, Const) and isinstance(at.value, int):
        number = int(at.value)
        if number < 0 or (kind.count and number >= kind.count):
            raise fn.error("PY120", node, f"there is no index {number} in {ktype_text(kind)}")
        return _reach(fn, base.ptr, base.base, (*base.steps, (number, kind.element)), None, node)
    if not isinstance(kind.element, (Int, Bool, Enum, Ptr)) or not kind.count:
        raise fn.error("PY133", node, f"elements of {ktype_text(kind)} are named by constants")
    proven = proven_index(fn, at, kind.count, node)
    size = 8 if isinstance(kind.element, Ptr) else kind.element.size
    assert isinstance(proven.type, Int)
    from osmia.frontends.python.numbers import convert

    offset = fn.fb.emit("mul", convert(fn, proven, proven.type, U64), fn.const(size, U64), type=U64)
    start = fn.fb.emit("ptr.to.int", _field(fn, base.ptr, base.base, base.steps), type=U64)
    space = Space.USER if base.space is Space.USER else Space.KERNEL
    pointer = fn.fb.emit("int.to.ptr", fn.fb.emit("add", start, offset, type=U64), type=Ptr(space, kind.element))
    return _load(fn, pointer, kind.element, node)


def probe_address(fn: Fn, place: KPlace) -> Value:
    """The place as an address that probe reads take."""
    pointer = _field(fn, place.ptr, place.base, place.steps)
    if place.space is Space.CTX:
        number = fn.fb.emit("ptr.to.int", pointer, type=U64)
        return fn.fb.emit("int.to.ptr", number, type=Ptr(Space.KERNEL, place.type))
    return pointer


def read_into(fn: Fn, place: KPlace, target: Value, size: int) -> None:
    """Copies bytes of a kernel object into the program's memory."""
    source = probe_address(fn, place)
    name = "read.user" if _space(source) is Space.USER else "read.kernel"
    result = fn.fb.emit(name, target, source, type=S64, size=size)
    if name == "read.user":
        fn.unit.count_fault(fn, result)


def array_layout(type_: Any) -> Layout | None:
    """The layout of an array of numbers inside a kernel object; ``None`` for other types."""
    if isinstance(type_, KArray) and isinstance(type_.element, (Int, Bool)) and type_.count:
        return Array(type_.element, type_.count)
    return type_ if isinstance(type_, (Char, Bytes)) else None


def materialize(fn: Fn, place: KPlace, node: ast.AST) -> Operand:
    """Text, bytes or numbers of a kernel object as memory of the program's own."""
    layout = array_layout(place.type)
    if layout is None:
        return place
    target = fn.temp(layout, "field")
    read_into(fn, place, target.ptr, layout.size)
    return Mem(target.ptr, layout, writable=False)


def address(fn: Fn, operand: Operand, node: ast.AST) -> Value:
    """``addr(p)``: the address of a pointer or place, as a ``u64``."""
    if isinstance(operand, KPtr):
        return fn.fb.emit("ptr.to.int", operand.value, type=U64)
    if isinstance(operand, KPlace):
        return fn.fb.emit("ptr.to.int", _field(fn, operand.ptr, operand.base, operand.steps), type=U64)
    raise fn.error("PY134", node, f"{operand.describe()} has no address", hint="addr() takes a kernel pointer")


def typed_pointer(fn: Fn, operand: Operand, type_: KType, node: ast.AST) -> KPtr:
    """``cast(x, sock)``: an address, or another pointer, as a pointer to a kernel type."""
    if isinstance(operand, (KPtr, KPlace)):
        number = address(fn, operand, node)
    else:
        number = fn.to_int(operand, U64, node)
    return KPtr(fn.fb.emit("int.to.ptr", number, type=Ptr(Space.KERNEL, type_)), type_)


# -- questions to the kernel ------------------------------------------------------------------------------------------


def path_of(fn: Fn, node: ast.expr) -> tuple[KType, tuple[Any, ...]] | None:
    """``task_struct.a.b`` as a kernel type and CO-RE steps; ``None`` where this kernel does not have the field."""
    names: list[tuple[str, ast.expr]] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        names.insert(0, (inner.attr, inner))
        inner = inner.value
    base = fn.expr(inner)
    if isinstance(base, Const) and isinstance(base.value, KernelType):
        owner = fn.unit.kernel(fn, inner).named(base.value.name)
        if owner is None:
            return None
    elif isinstance(base, KPtr) and isinstance(base.to, KType):
        owner = base.to
    else:
        raise fn.error(
            "PY135", node, "a kernel type's field is needed here", hint="write field_exists(task_struct.comm)"
        )
    if not names:
        raise fn.error("PY135", node, "name a field of the type", hint="write field_exists(task_struct.comm)")
    root, steps, current = owner, [], owner
    for position, (name, place) in enumerate(names):
        member = fn.unit.kernel(fn, place).member(current, name)
        if member is None:
            return None
        steps.append((name, member.type))
        if position < len(names) - 1:
            if not isinstance(member.type, KType):
                raise fn.error("PY135", place, f"{name} is a pointer or number: the path ends there")
            current = member.type
    return root, tuple(steps)


def enum_base(fn: Fn, name: KernelName, node: ast.AST) -> tuple[KType, Any]:
    """The kernel enum of an enumerator.

    :raises CompileError: PY136 when the type is no enum.
    """
    kernel = fn.unit.kernel(fn, node)
    found = kernel.enum(name.type.name)
    if found is None:
        near = kernel.near(name.type.name)
        raise fn.error(
            "PY136", node, f"the kernel has no enum {name.type.name!r}",
            hint=f"near it: {', '.join(near)}" if near else None,
        )  # fmt: skip
    kind = kernel.named(name.type.name)
    return kind if kind is not None and kind.kind == "typedef" else KType(name.type.name, "enum"), found


def enumerator(fn: Fn, name: KernelName, node: ast.AST) -> Num:
    """The value of a kernel enumerator, relocated for the running kernel."""
    base, found = enum_base(fn, name, node)
    names = [item.name for item in found.values]
    if name.name not in names:
        near = did_you_mean(name.name, names)
        raise fn.error("PY136", node, f"enum {name.type.name} has no {name.name!r}", hint=near or ", ".join(names[:24]))
    wide = S64 if found.signed else U64
    value = fn.fb.emit("core.enum_value", type=wide, base=base, enumerator=name.name)
    narrow = Int(found.size * 8, bool(found.signed))
    return Num(value if narrow.bits == 64 else fn.fb.emit("trunc", value, type=narrow), narrow)
