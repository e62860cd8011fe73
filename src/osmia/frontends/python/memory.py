"""Memory of known layout: fields, elements, storing values of every type, atomic updates."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import Ptr, Space, Value
from osmia.diagnostics.text import did_you_mean
from osmia.frontends.python import strings
from osmia.frontends.python.values import Const, Group, Items, KPlace, KPtr, Mem, Num, Operand, Truth
from osmia.lang.structs import describe
from osmia.object.layout import BOOL, S64, U8, U32, U64, Array, Bool, Bytes, Char, Enum, Int, Layout, Struct

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn

_CAS_TRIES = 32


class Place:
    """Where a value can be read and, unless it says otherwise, written.

    :ivar pointer: its address. :ivar layout: what lies there. :ivar shared: other CPUs may write at the same time.
    :ivar readonly: why it cannot be written, ``""`` if it can. :ivar root: see :class:`~.values.Mem`.
    """

    __slots__ = ("layout", "pointer", "readonly", "root", "shared")

    def __init__(
        self,
        pointer: Value,
        layout: Layout,
        shared: bool = False,
        readonly: str = "",
        root: tuple[Value, int, int] | None = None,
    ) -> None:
        self.pointer = pointer
        self.layout = layout
        self.shared = shared
        self.readonly = readonly
        self.root = root

    def read(self, fn: Fn) -> Operand:
        """The value there: a number or truth value is loaded, other memory referred to."""
        return read(fn, self.pointer, self.layout, self.shared, not self.readonly, self.root)

    def write(self, fn: Fn, operand: Operand, node: ast.AST) -> None:
        """Stores a value.

        :raises CompileError: PY121 when the place is read-only.
        """
        self.check_writable(fn, node)
        write(fn, self.pointer, self.layout, operand, node)

    def check_writable(self, fn: Fn, node: ast.AST) -> None:
        """Refuses a place that is read-only."""
        if self.readonly:
            raise fn.error("PY121", node, self.readonly)


def scalar_type(layout: Layout) -> Int | Bool | None:
    """The scalar that a layout loads as; ``None`` for aggregates."""
    if isinstance(layout, Enum):
        return layout.base
    return layout if isinstance(layout, (Int, Bool)) else None


def read(
    fn: Fn,
    pointer: Value,
    layout: Layout,
    shared: bool = False,
    writable: bool = True,
    root: tuple[Value, int, int] | None = None,
) -> Operand:
    """The value at a pointer."""
    scalar = scalar_type(layout)
    if scalar is None:
        return Mem(pointer, layout, shared=shared, writable=writable, root=root)
    value = fn.load(pointer, scalar)
    return Truth(value) if isinstance(scalar, Bool) else Num(value, scalar)


# -- fields and elements --------------------------------------------------------------------------------------------


def field(fn: Fn, base: Mem, name: str, node: ast.AST) -> Place:
    """A field of a struct.

    :raises CompileError: PY122 when there is none of that name; the error lists the fields.
    """
    layout = base.layout
    found = layout.field(name) if isinstance(layout, Struct) else None
    if not isinstance(layout, Struct) or found is None or layout.name == "tuple":
        names = [item.name for item in layout.fields] if isinstance(layout, Struct) and layout.name != "tuple" else []
        what = describe(layout)
        if not names:
            hint = "its parts are t[0], t[1]..." if isinstance(layout, Struct) else None
            raise fn.error("PY122", node, f"{base.describe()} has no attribute {name!r}", hint=hint)
        hint = f"{did_you_mean(name, names) or ''} fields of {what}: {', '.join(names)}".strip()
        raise fn.error("PY122", node, f"{what} has no field {name!r}", hint=hint)
    return part(fn, base, found.type, found.offset, name)


def part(fn: Fn, base: Mem, layout: Layout, offset: int, name: str) -> Place:
    """A part of a struct at a fixed offset."""
    bound = _bound_at(base, offset, layout)
    pointer = fn.fb.emit("field", base.ptr, type=Ptr(base.space, layout, False, bound), offset=offset, name=name)
    root = None if base.root is None else (base.root[0], base.root[1], base.root[2] + offset)
    return Place(pointer, layout, base.shared, "" if base.writable else "this memory is read-only", root)


def _bound_at(base: Mem, offset: int, layout: Layout) -> int | None:
    assert isinstance(base.ptr.type, Ptr)
    return None if base.ptr.type.bound is None else base.ptr.type.bound - offset


def element(fn: Fn, base: Mem, index: Operand, node: ast.AST) -> Place:
    """An element of an array; an index outside is a run-time error, a constant one is refused."""
    layout = base.layout
    assert isinstance(layout, Array)
    step = layout.element.size
    if isinstance(index, Const) and isinstance(index.value, int):
        at = int(index.value) + (layout.count if index.value < 0 else 0)
        if not 0 <= at < layout.count:
            raise fn.error("PY120", node, f"there is no index {int(index.value)} in an array of {layout.count}")
        pointer = fn.fb.emit("element", base.ptr, fn.const(at, U32), type=Ptr(base.space, layout.element))
        root = None if base.root is None else (base.root[0], base.root[1], base.root[2] + at * step)
        return Place(pointer, layout.element, base.shared, "" if base.writable else "this array is read-only", root)
    proven = proven_index(fn, index, layout.count, node)
    pointer = fn.fb.emit("element", base.ptr, proven, type=Ptr(base.space, layout.element))
    return Place(pointer, layout.element, base.shared, "" if base.writable else "this array is read-only")


def proven_index(fn: Fn, index: Operand, count: int, node: ast.AST) -> Value:
    """An index that lies in ``0 .. count - 1``; counts from the end where it is negative."""
    number = fn.as_number(fn.unwrap(index, node), node)
    if isinstance(number, Num) and number.type.signed:
        wide = fn.to_int(number, S64, node)
        negative = fn.compare("slt", wide, fn.const(0, S64))
        from_end = fn.fb.emit("add", wide, fn.const(count, S64), type=S64)
        chosen = fn.fb.emit("select", negative, from_end, wide, type=S64)
        value = fn.fb.emit("retype", chosen, type=U64)
    else:
        value = fn.to_int(number, U64 if isinstance(number, Num) and number.type.bits == 64 else U32, node)
    (outside,) = fn.blocks("outside")
    proven = strings.check_range(fn, value, count, outside)
    flow, block = fn.flow, fn.fb.block
    fn.enter(outside)
    fn.fail(f"index outside 0..{count - 1}", node)
    fn.fb.block, fn.flow, fn.live = block, flow, True
    return proven


def tuple_part(fn: Fn, base: Mem, index: Operand, node: ast.AST) -> Place:
    """``key[0]`` of a tuple in memory."""
    layout = base.layout
    assert isinstance(layout, Struct)
    if not isinstance(index, Const) or not isinstance(index.value, int):
        raise fn.error("PY120", node, "a part of a tuple is named by a constant")
    at = int(index.value) + (len(layout.fields) if index.value < 0 else 0)
    if not 0 <= at < len(layout.fields):
        raise fn.error("PY120", node, f"there is no index {int(index.value)} in a tuple of {len(layout.fields)}")
    found = layout.fields[at]
    return part(fn, base, found.type, found.offset, found.name)


def as_group(fn: Fn, base: Mem) -> Group:
    """A tuple in memory as a tuple of operands."""
    assert isinstance(base.layout, Struct)
    return Group([part(fn, base, item.type, item.offset, item.name).read(fn) for item in base.layout.fields])


# -- storing --------------------------------------------------------------------------------------------------------


def write(fn: Fn, pointer: Value, layout: Layout, operand: Operand, node: ast.AST) -> None:
    """Stores an operand at a pointer to ``layout``; numbers keep their low bits, longer text is cut.

    :raises CompileError: PY123 when the types do not fit together.
    """
    operand = fn.unwrap(operand, node)
    if isinstance(layout, (Int, Enum)):
        base = layout.base if isinstance(layout, Enum) else layout
        if isinstance(operand, (KPtr, KPlace)) and base.bits == 64:
            raise fn.error(
                "PY123", node, f"{operand.describe()} is no number", hint="addr(p) is the address as a number"
            )
        fn.store(pointer, fn.to_int(operand, base, node))
    elif isinstance(layout, Bool):
        fn.store(pointer, to_bool(fn, operand, node))
    elif isinstance(layout, Char):
        _write_text(fn, pointer, layout, operand, node)
    elif isinstance(layout, Bytes):
        _write_bytes(fn, pointer, layout, operand, node)
    elif isinstance(layout, Array):
        _write_array(fn, pointer, layout, operand, node)
    elif isinstance(layout, Struct):
        _write_struct(fn, pointer, layout, operand, node)
    else:
        raise _mismatch(fn, layout, operand, node)


def to_bool(fn: Fn, operand: Operand, node: ast.AST) -> Value:
    """A truth value for a place that holds ``bool``."""
    if isinstance(operand, Truth):
        return operand.value
    if isinstance(operand, Const) and isinstance(operand.value, bool):
        return fn.const(int(operand.value), BOOL)
    raise fn.error("PY123", node, f"a bool is needed here, not {operand.describe()}", hint="write bool(x) or x != 0")


def _mismatch(fn: Fn, layout: Layout, operand: Operand, node: ast.AST, hint: str | None = None) -> Exception:
    if hint is None and isinstance(operand, (KPlace, KPtr)) and isinstance(layout, Struct):
        hint = "a kernel struct is not copied whole: copy the fields you need"
    return fn.error("PY123", node, f"{describe(layout)} is needed here, not {operand.describe()}", hint=hint)


def _write_text(fn: Fn, pointer: Value, layout: Char, operand: Operand, node: ast.AST) -> None:
    if isinstance(operand, Const) and isinstance(operand.value, str):
        raw = strings.encoded(fn, operand.value, node)
        if len(raw) > layout.size:
            raise fn.error("PY105", node, f"this text has {len(raw)} bytes and {describe(layout)} holds {layout.size}")
        _write_raw(fn, pointer, raw, layout.size)
        return
    if isinstance(operand, KPlace) and isinstance(operand.type, Char):
        from osmia.frontends.python.kernel_fields import read_into

        size = min(layout.size, operand.type.size)
        if size < layout.size:
            fn.fb.emit("zero", pointer, size=layout.size)
        read_into(fn, operand, pointer, size)
        return
    if not isinstance(operand, Mem) or not isinstance(operand.layout, Char):
        hint = "text is written as 'x', bytes as b'x'" if strings.is_text(operand) else None
        raise _mismatch(fn, layout, operand, node, hint)
    size = min(layout.size, operand.layout.size)
    if size < layout.size:
        fn.fb.emit("zero", pointer, size=layout.size)
    fn.fb.emit("copy", pointer, operand.ptr, size=size)


def _write_raw(fn: Fn, pointer: Value, raw: bytes, size: int) -> None:
    """Known bytes, the rest zero."""
    raw = raw.rstrip(b"\0")
    if len(raw) < size:
        if not raw or size > 64:
            fn.fb.emit("zero", pointer, size=size)
        else:
            raw = raw.ljust(size, b"\0")
    if raw:
        fn.fb.emit("copy", pointer, strings.constant(fn, raw, Bytes(len(raw))), size=len(raw))


def _write_bytes(fn: Fn, pointer: Value, layout: Bytes, operand: Operand, node: ast.AST) -> None:
    if isinstance(operand, Const) and isinstance(operand.value, bytes):
        if len(operand.value) != layout.size:
            raise fn.error("PY105", node, f"{len(operand.value)} bytes do not fill {describe(layout)}")
        _write_raw(fn, pointer, operand.value, layout.size)
        return
    if isinstance(operand, KPlace) and isinstance(operand.type, Layout) and operand.type.size == layout.size:
        from osmia.frontends.python.kernel_fields import read_into

        read_into(fn, operand, pointer, layout.size)
        return
    if not isinstance(operand, Mem) or operand.layout != layout:
        raise _mismatch(fn, layout, operand, node)
    fn.fb.emit("copy", pointer, operand.ptr, size=layout.size)


def _write_array(fn: Fn, pointer: Value, layout: Array, operand: Operand, node: ast.AST) -> None:
    if isinstance(operand, Const) and isinstance(operand.value, (list, tuple)):
        _write_packed(fn, pointer, layout, operand.value, node)
        return
    if isinstance(operand, Items):
        _write_items(fn, pointer, layout, operand, node)
        return
    if isinstance(operand, KPlace):
        from osmia.frontends.python.kernel_fields import array_layout, read_into

        if array_layout(operand.type) == layout:
            read_into(fn, operand, pointer, layout.size)
            return
    if not isinstance(operand, Mem) or operand.layout != layout:
        raise _mismatch(fn, layout, operand, node)
    fn.fb.emit("copy", pointer, operand.ptr, size=layout.size)


def _write_packed(fn: Fn, pointer: Value, layout: Layout, value: Any, node: ast.AST) -> None:
    try:
        raw = layout.pack(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise fn.error("PY105", node, f"this constant does not fit {describe(layout)}: {error}") from None
    if any(raw):
        fn.fb.emit("copy", pointer, strings.constant(fn, raw, Bytes(len(raw))), size=len(raw))
    else:
        fn.fb.emit("zero", pointer, size=layout.size)


def _write_items(fn: Fn, pointer: Value, layout: Array, operand: Items, node: ast.AST) -> None:
    if operand.count != layout.count:
        raise fn.error("PY105", node, f"a list of {operand.count} does not fill {describe(layout)}")
    if all(isinstance(item, Const) for item in operand.items):
        values = [item.value for item in operand.items if isinstance(item, Const)]
        _write_packed(fn, pointer, layout, values * operand.times, node)
        return
    if operand.times > 1 and operand.count > 64:
        raise fn.error("PY124", node, "a list of more than 64 variable elements", hint="fill the array in a loop")
    for index in range(operand.count):
        at = fn.fb.emit("element", pointer, fn.const(index, U32), type=Ptr(_space(pointer), layout.element))
        write(fn, at, layout.element, operand.items[index % len(operand.items)], node)


def _space(pointer: Value) -> Space:
    assert isinstance(pointer.type, Ptr)
    return pointer.type.space


def _write_struct(fn: Fn, pointer: Value, layout: Struct, operand: Operand, node: ast.AST) -> None:
    if isinstance(operand, Group) and layout.name in ("tuple", "histogram_key"):
        if len(operand.items) != len(layout.fields):
            raise fn.error("PY123", node, f"{len(operand.items)} values do not fill {describe(layout)}")
        target = Mem(pointer, layout)
        if padded(layout):
            fn.fb.emit("zero", pointer, size=layout.size)
        for item, value in zip(layout.fields, operand.items, strict=True):
            place = part(fn, target, item.type, item.offset, item.name)
            write(fn, place.pointer, item.type, value, node)
        return
    if isinstance(operand, Const) and not callable(operand.value):
        made = getattr(type(operand.value), "__layout__", None)
        if made == layout or (isinstance(operand.value, tuple) and layout.name == "tuple"):
            _write_packed(fn, pointer, layout, operand.value, node)
            return
    if not isinstance(operand, Mem) or operand.layout != layout:
        raise _mismatch(fn, layout, operand, node)
    fn.fb.emit("copy", pointer, operand.ptr, size=layout.size)


def padded(layout: Layout) -> bool:
    """Whether a layout has bytes that belong to no field."""
    if isinstance(layout, Array):
        return padded(layout.element)
    if not isinstance(layout, Struct):
        return False
    at = 0
    for item in layout.fields:
        if item.offset != at or padded(item.type):
            return True
        at = item.offset + item.type.size
    return at != layout.size


# -- updates --------------------------------------------------------------------------------------------------------

_ATOMIC = {ast.Add: "add", ast.Sub: "add", ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor"}


def update(fn: Fn, place: Place, op: ast.operator, right: Operand, node: ast.AST, right_node: ast.AST) -> None:
    """``place op= right``: atomic where other CPUs may write too."""
    place.check_writable(fn, node)
    from osmia.frontends.python.numbers import binop

    scalar = scalar_type(place.layout)
    if not place.shared or scalar is None:
        write(fn, place.pointer, place.layout, binop(fn, op, place.read(fn), right, node), node)
        return
    if isinstance(scalar, Bool) or scalar.bits < 32:
        _update_narrow(fn, place, scalar, lambda old: binop(fn, op, old, right, node), node)
        return
    name = _ATOMIC.get(type(op))
    if name is None:
        cas_loop(fn, place.pointer, scalar, lambda old: binop(fn, op, old, right, node), node)
        return
    amount = operation_value(fn, op, right, scalar, right_node)
    fn.fb.emit(f"atomic.{name}", place.pointer, amount)


def operation_value(fn: Fn, op: ast.operator, right: Operand, type: Int, node: ast.AST) -> Value:
    """The operand of an atomic operation: what is added for ``-=`` is the negated value."""
    from osmia.frontends.python.numbers import in_type, literal_join

    number = fn.as_number(fn.unwrap(right, node), node)
    if isinstance(number, Const):
        literal_join(fn, int(number.value), type, node, bitwise=True)
    value = in_type(fn, number, type, node)
    return fn.fb.emit("neg", value, type=type) if isinstance(op, ast.Sub) else value


def cas_loop(fn: Fn, pointer: Value, type: Int, change: Callable[[Num], Operand], node: ast.AST) -> None:
    """Replaces a shared number by what ``change`` makes of it; gives up, counted, after some collisions."""
    tries = fn.fb.local("tries", U32)
    fn.fb.set(tries, fn.const(0, U32))
    head, again, lost, done = fn.blocks("cas", "again", "lost", "changed")
    flow = fn.flow.copy()
    fn.goto(head)
    fn.enter(head, flow)
    old = fn.load(pointer, type)
    new = fn.to_int(change(Num(old, type)), type, node)
    seen = fn.fb.emit("atomic.cmpxchg", pointer, old, new, type=type)
    fn.condbr(fn.compare("eq", seen, old), done, again)
    fn.enter(again)
    count = fn.fb.emit("add", fn.fb.get(tries), fn.const(1, U32), type=U32)
    fn.fb.set(tries, count)
    fn.condbr(fn.compare("ult", count, fn.const(_CAS_TRIES, U32)), head, lost)
    fn.incoming.pop(head, None)
    fn.enter(lost)
    fn.unit.count_error(fn, "update lost to other CPUs", fn.span(node))
    fn.goto(done)
    fn.enter(done)


def _update_narrow(
    fn: Fn, place: Place, scalar: Int | Bool, change: Callable[[Operand], Operand], node: ast.AST
) -> None:
    """A field below 32 bits: compare-and-swap on the word around it."""
    bits = 8 if isinstance(scalar, Bool) else scalar.bits
    root = place.root
    start = None if root is None else root[2] & ~3
    if root is None or start is None or start + 4 > root[1]:
        raise fn.error(
            "PY125", node, f"a shared {describe(place.layout)} cannot be updated atomically here",
            hint="make it a u32 or u64, or keep it per CPU",
        )  # fmt: skip
    base, size, offset = root
    assert isinstance(base.type, Ptr)
    words = fn.fb.emit("cast.ptr", base, type=Ptr(base.type.space, Array(U32, size // 4)))
    word = fn.fb.emit("element", words, fn.const(start // 4, U32), type=Ptr(base.type.space, U32))
    shift, mask = 8 * (offset - start), (1 << bits) - 1

    def replace(old: Num) -> Operand:
        emit = fn.fb.emit
        narrow = Int(bits, isinstance(scalar, Int) and scalar.signed)
        low = emit("lshr", old.value, fn.const(shift, U32), type=U32)
        part_value = emit("trunc", low, type=narrow)
        current: Operand = Num(part_value, narrow)
        if isinstance(scalar, Bool):
            current = Truth(fn.compare("ne", part_value, fn.const(0, narrow)))
        changed = change(current)
        if isinstance(scalar, Bool):
            new = emit("zext", to_bool(fn, changed, node), type=U32)
        else:
            unsigned = Int(bits)
            cut = fn.to_int(changed, narrow, node)
            if narrow.signed:
                cut = emit("retype", cut, type=unsigned)
            new = emit("zext", cut, type=U32)
        kept = emit("and", old.value, fn.const(0xFFFFFFFF ^ (mask << shift), U32), type=U32)
        moved = emit("shl", new, fn.const(shift, U32), type=U32)
        return Num(emit("or", kept, moved, type=U32), U32)

    cas_loop(fn, word, U32, replace, node)


def u8_pointer(fn: Fn, pointer: Value) -> Value:
    """A pointer to the first byte."""
    return fn.fb.emit("cast.ptr", pointer, type=Ptr(_space(pointer), U8))
