"""Text and bytes: comparison, prefixes, length, single characters."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from osmia.compiler.ir import Ptr, Space, Value
from osmia.frontends.python.values import Const, KPlace, Mem, Num, Operand, Truth
from osmia.object.layout import BOOL, U8, U32, U64, Array, Bytes, Char, Int, Layout

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn


def is_text(operand: Operand) -> bool:
    """Whether an operand is text or bytes, constant or in memory."""
    if isinstance(operand, Const):
        return isinstance(operand.value, (str, bytes))
    if isinstance(operand, KPlace):
        return isinstance(operand.type, (Char, Bytes))
    return isinstance(operand, Mem) and isinstance(operand.layout, (Char, Bytes))


def encoded(fn: Fn, text: str, node: ast.AST) -> bytes:
    """The bytes of a text constant.

    :raises CompileError: PY118 for text with a NUL character or lone surrogates.
    """
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise fn.error("PY118", node, f"this text has no UTF-8 form: {error.reason}") from None
    if b"\0" in raw:
        raise fn.error(
            "PY118",
            node,
            "text in the kernel ends at a NUL character, so it cannot contain one",
            hint="use bytes: b'...'",
        )
    return raw


def constant(fn: Fn, raw: bytes, layout: Layout) -> Value:
    """The address of read-only bytes."""
    name = fn.unit.constant(raw, layout)
    return fn.fb.emit("global.addr", type=Ptr(Space.GLOBAL, layout), name=name)


def in_memory(fn: Fn, operand: Operand, node: ast.AST) -> Mem:
    """Text or bytes where the program can read them directly."""
    if isinstance(operand, KPlace):
        from osmia.frontends.python.kernel_fields import materialize

        made = materialize(fn, operand, node)
        assert isinstance(made, Mem)
        return made
    if isinstance(operand, Const):
        if isinstance(operand.value, str):
            raw = encoded(fn, operand.value, node)
            layout: Layout = Char(len(raw) + 1)
            raw += b"\0"
        else:
            raw = operand.value
            layout = Bytes(max(1, len(raw)))
        return Mem(constant(fn, raw, layout), layout, writable=False)
    assert isinstance(operand, Mem)
    return operand


def compare(
    fn: Fn, op: ast.cmpop, left: Operand, right: Operand, left_node: ast.AST, right_node: ast.AST
) -> Truth | Const:
    """``==`` and ``!=`` of text or bytes."""
    for this, other, node in ((left, right, right_node), (right, left, left_node)):
        if not is_text(other):
            raise fn.error("PY115", node, f"{this.describe()} cannot be compared with {other.describe()}")
    if not isinstance(op, (ast.Eq, ast.NotEq)):
        raise fn.error("PY115", left_node, "text has no order in the kernel", hint="compare with == or !=")
    equal = isinstance(op, ast.Eq)
    if _is_bytes(left) != _is_bytes(right):
        raise fn.error(
            "PY115", right_node, f"{left.describe()} is never equal to {right.describe()}",
            hint="compare text with text and bytes with bytes",
        )  # fmt: skip
    if isinstance(left, Const):
        left, right, left_node, right_node = right, left, right_node, left_node
    memory = in_memory(fn, left, left_node)
    if isinstance(right, Const):
        result = _with_constant(fn, memory, right, right_node)
    else:
        result = _with_memory(fn, memory, in_memory(fn, right, right_node))
    if isinstance(result, bool):
        return Const(result is equal)
    return Truth(result if equal else fn.fb.emit("not", result, type=BOOL))


def _is_bytes(operand: Operand) -> bool:
    if isinstance(operand, Const):
        return isinstance(operand.value, bytes)
    layout = operand.type if isinstance(operand, KPlace) else getattr(operand, "layout", None)
    return isinstance(layout, Bytes)


def _with_constant(fn: Fn, memory: Mem, right: Const, node: ast.AST) -> Value | bool:
    if isinstance(right.value, bytes):
        raw = right.value
        if len(raw) != memory.layout.size:
            return False
    else:
        raw = encoded(fn, right.value, node)
        if len(raw) > memory.layout.size:
            return False
        raw = (raw + b"\0")[: memory.layout.size]
    return equal_bytes(fn, memory.ptr, raw)


def equal_bytes(fn: Fn, pointer: Value, raw: bytes) -> Value:
    """Whether memory starts with ``raw``."""
    if len(raw) == 1:
        assert isinstance(pointer.type, Ptr)
        byte = fn.fb.emit("cast.ptr", pointer, type=Ptr(pointer.type.space, U8, False, pointer.type.bound))
        return fn.compare("eq", fn.load(byte, U8), fn.const(raw[0], U8))
    address = constant(fn, raw, Bytes(len(raw)))
    return fn.fb.emit("memeq", pointer, address, type=BOOL, size=len(raw))


def _with_memory(fn: Fn, left: Mem, right: Mem) -> Value | bool:
    if isinstance(left.layout, Bytes):
        if left.layout.size != right.layout.size:
            return False
        return fn.fb.emit("memeq", left.ptr, right.ptr, type=BOOL, size=left.layout.size)
    size = max(left.layout.size, right.layout.size)
    pointers = [_padded(fn, side, size) for side in (left, right)]
    return fn.fb.emit("streq", *pointers, type=BOOL, size=size)


def _padded(fn: Fn, memory: Mem, size: int) -> Value:
    if memory.layout.size == size:
        return memory.ptr
    wide = fn.temp(Char(size), "text")
    fn.fb.emit("zero", wide.ptr, size=size)
    fn.fb.emit("copy", wide.ptr, memory.ptr, size=memory.layout.size)
    return wide.ptr


def startswith(fn: Fn, operand: Operand, prefix: Operand, owner: ast.AST, node: ast.AST) -> Operand:
    """``text.startswith(prefix)`` with a constant prefix, or a tuple of them."""
    if not isinstance(prefix, Const):
        raise fn.error("PY119", node, "the prefix is a constant")
    if isinstance(prefix.value, tuple):
        result: Value | None = None
        for item in prefix.value:
            one = fn.truth(startswith(fn, operand, Const(item), owner, node), node)
            result = one if result is None else fn.fb.emit("or", result, one, type=BOOL)
        return Const(False) if result is None else Truth(result)
    if not isinstance(prefix.value, bytes if _is_bytes(operand) else str):
        raise fn.error("PY115", node, f"{operand.describe()} cannot start with {prefix.describe()}")
    if isinstance(operand, Const):
        return Const(operand.value.startswith(prefix.value))
    memory = in_memory(fn, operand, owner)
    raw = prefix.value if isinstance(prefix.value, bytes) else encoded(fn, prefix.value, node)
    if not raw:
        return Const(True)
    if len(raw) > memory.layout.size:
        return Const(False)
    return Truth(equal_bytes(fn, memory.ptr, raw))


def bytes_view(fn: Fn, memory: Mem) -> Value:
    """Text or bytes as an array of ``u8``."""
    size = memory.layout.size
    return fn.fb.emit("cast.ptr", memory.ptr, type=Ptr(memory.space, Array(U8, size), False, _bound(memory)))


def _bound(memory: Mem) -> int | None:
    assert isinstance(memory.ptr.type, Ptr)
    return memory.ptr.type.bound


def length(fn: Fn, operand: Operand, node: ast.AST) -> Operand:
    """``len(text)``: the bytes before the NUL byte; of bytes their number."""
    if isinstance(operand, Const):
        value = operand.value
        return Const(len(value.encode()) if isinstance(value, str) else len(value))
    memory = in_memory(fn, operand, node)
    if isinstance(memory.layout, Bytes):
        return Const(memory.layout.size)
    view = bytes_view(fn, memory)
    index = fn.fb.local("length", U32)
    fn.fb.set(index, fn.const(0, U32))
    head, following, end = fn.blocks("length", "next", "measured")
    flow = fn.flow.copy()
    fn.goto(head)
    fn.enter(head, flow)
    at = check_range(fn, fn.fb.get(index), memory.layout.size, end)
    byte = fn.load(fn.fb.emit("element", view, at, type=Ptr(memory.space, U8)), U8)
    fn.condbr(fn.compare("ne", byte, fn.const(0, U8)), following, end)
    fn.enter(following)
    fn.fb.set(index, fn.fb.emit("add", fn.fb.get(index), fn.const(1, U32), type=U32))
    fn.goto(head)
    fn.incoming.pop(head, None)
    fn.enter(end)
    return Num(fn.fb.get(index), U32)


def check_range(fn: Fn, index: Value, count: int, outside: object) -> Value:
    """Goes on where ``index`` is below ``count``; gives the proven index."""
    (inside,) = fn.blocks("inside")
    fn.note(inside)
    fn.note(outside)  # type: ignore[arg-type]
    proven = fn.fb.emit(
        "br.inrange",
        index,
        type=index.type,
        count=count,
        then=inside.label,
        other=outside.label,  # type: ignore[attr-defined]
    )
    fn.enter(inside)
    return proven


def character(fn: Fn, operand: Operand, index: Operand, owner: ast.AST, node: ast.AST) -> Operand:
    """``text[i]``: one character, empty beyond the end; ``data[i]`` of bytes: a ``u8``."""
    index = fn.as_number(index, node)
    if isinstance(operand, Const) and isinstance(index, Const):
        try:
            return Const(operand.value[int(index.value)])
        except IndexError:
            raise fn.error("PY120", node, f"there is no index {index.value} in {operand.describe()}") from None
    memory = in_memory(fn, operand, owner)
    size = memory.layout.size
    if isinstance(memory.layout, Bytes):
        from osmia.frontends.python.memory import element

        view = Mem(bytes_view(fn, memory), Array(U8, size), writable=False)
        return element(fn, view, index, node).read(fn)
    if isinstance(index, Const):
        at = int(index.value)
        if at < 0:
            raise fn.error("PY120", node, "text is indexed from its start", hint="its length is known only at run time")
        if at >= size:
            return Const("")
        proven = fn.const(at, U32)
        byte = fn.fb.emit("element", bytes_view(fn, memory), proven, type=Ptr(memory.space, U8))
        one = fn.fb.emit("cast.ptr", byte, type=Ptr(memory.space, Char(1)))
        return Mem(one, Char(1), writable=False)
    number = fn.as_number(index, node)
    result = fn.temp(Char(1), "char")
    fn.fb.emit("zero", result.ptr, size=1)
    (end,) = fn.blocks("char")
    proven = check_range(fn, fn.to_int(number, _index_type(number), node), size, end)
    byte = fn.fb.emit("element", bytes_view(fn, memory), proven, type=Ptr(memory.space, U8))
    target = fn.fb.emit("cast.ptr", result.ptr, type=Ptr(Space.STACK, U8))
    fn.store(target, fn.load(byte, U8))
    fn.goto(end)
    fn.enter(end)
    return result


def _index_type(number: Operand) -> Int:
    return U64 if isinstance(number, Num) and number.type.bits == 64 else U32


def ordinal(fn: Fn, operand: Operand, node: ast.AST) -> Operand:
    """``ord(c)``: the first byte of a character."""
    if isinstance(operand, Const):
        if isinstance(operand.value, (str, bytes)) and len(operand.value) == 1:
            return Const(ord(operand.value))
        raise fn.error("PY106", node, "ord() takes one character")
    if not is_text(operand):
        raise fn.error("PY106", node, f"ord() takes one character, not {operand.describe()}")
    memory = in_memory(fn, operand, node)
    if memory.layout.size != 1:
        raise fn.error("PY106", node, "ord() takes one character", hint="write ord(text[0])")
    byte = fn.fb.emit("cast.ptr", memory.ptr, type=Ptr(memory.space, U8))
    return Num(fn.load(byte, U8), U8)
