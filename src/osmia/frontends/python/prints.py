"""Printing: ``print`` sends values to user space, ``printk`` and ``seq_print`` format in the kernel."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import Ptr, Space, Value
from osmia.frontends.python import memory, strings
from osmia.frontends.python.maps import direct_pointer
from osmia.frontends.python.unit import PRINTS
from osmia.frontends.python.values import Const, Context, Group, KPlace, KPtr, Mem, Nothing, Num, Operand, Truth
from osmia.object.layout import BOOL, S64, U32, U64, Array, Bytes, Char, Layout, Struct
from osmia.object.spec import MapSpec

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn

_CONVERSIONS = {-1: "", 114: "r", 115: "s", 97: "a"}
_RING_SIZE = 256 * 1024


class _Piece:
    """A value inside a text: the operand, its node and its format."""

    __slots__ = ("conversion", "node", "operand", "spec")

    def __init__(self, operand: Operand, node: ast.expr, spec: str, conversion: str) -> None:
        self.operand = operand
        self.node = node
        self.spec = spec
        self.conversion = conversion


def pieces(fn: Fn, node: ast.expr) -> list[str | _Piece]:
    """The parts of a string literal or f-string; adjoining text is one part."""
    found: list[str | _Piece] = []

    def text(part: str) -> None:
        if found and isinstance(found[-1], str):
            found[-1] += part
        elif part:
            found.append(part)

    if isinstance(node, ast.JoinedStr):
        for value in node.values:
            if isinstance(value, ast.Constant):
                text(str(value.value))
            else:
                assert isinstance(value, ast.FormattedValue)
                spec = _format_spec(fn, value)
                operand = fn.value(value.value)
                conversion = _CONVERSIONS.get(value.conversion, "")
                if isinstance(operand, Const) and _plain(operand.value):
                    text(_formatted(fn, operand.value, spec, conversion, value))
                else:
                    _check_format(fn, operand, spec, conversion, value)
                    found.append(_Piece(operand, value.value, spec, conversion))
        return found
    operand = fn.value(node)
    if isinstance(operand, Const) and _plain(operand.value):
        text(str(operand.value))
    else:
        found.append(_Piece(operand, node, "", ""))
    return found


def _plain(value: Any) -> bool:
    return isinstance(value, (int, float, str, bytes, type(None), tuple, list, dict, set, frozenset))


def _format_spec(fn: Fn, node: ast.FormattedValue) -> str:
    if node.format_spec is None:
        return ""
    assert isinstance(node.format_spec, ast.JoinedStr)
    spec = ""
    for part in node.format_spec.values:
        if isinstance(part, ast.Constant):
            spec += str(part.value)
            continue
        assert isinstance(part, ast.FormattedValue)
        operand = fn.value(part.value)
        if not isinstance(operand, Const):
            raise fn.error("PY200", part.value, "a format is a constant")
        spec += _formatted(fn, operand.value, _format_spec(fn, part), _CONVERSIONS.get(part.conversion, ""), part)
    return spec


def _check_format(fn: Fn, operand: Operand, spec: str, conversion: str, node: ast.AST) -> None:
    """Refuses a format that Python would refuse for values of this type."""
    if not spec:
        return
    example: Any = 0
    if isinstance(operand, Truth):
        example = True
    elif strings.is_text(operand):
        example = b"" if isinstance(getattr(operand, "layout", None), Bytes) else ""
    elif isinstance(operand, (Mem, Group)):
        example = ()
    _formatted(fn, example, spec, conversion, node)


def _formatted(fn: Fn, value: Any, spec: str, conversion: str, node: ast.AST) -> str:
    try:
        shown = repr(value) if conversion == "r" else ascii(value) if conversion == "a" else value
        shown = str(value) if conversion == "s" else shown
        return format(shown, spec)
    except (TypeError, ValueError) as error:
        raise fn.error("PY200", node, f"this cannot be formatted: {error}") from None


# -- to user space ----------------------------------------------------------------------------------------------------


def print_(fn: Fn, node: ast.Call) -> Operand:
    """``print(...)``: an event with the values, formatted in user space by Python's own rules."""
    options = {"sep": " ", "end": "\n"}
    for keyword in node.keywords:
        value = fn.expr(keyword.value) if keyword.arg in options else None
        if not isinstance(value, Const) or not isinstance(value.value, (str, type(None))):
            raise fn.error("PY200", keyword.value, "print() takes sep= and end=, both constant text, in the kernel")
        if keyword.arg is not None and value.value is not None:
            options[keyword.arg] = value.value
    parts: list[str | _Piece] = []
    for position, item in enumerate(node.args):
        if isinstance(item, ast.Starred):
            raise fn.error("PY182", item, "arguments are passed one by one")
        if position:
            parts.append(options["sep"])
        parts += pieces(fn, item)
    parts.append(options["end"])
    _emit(fn, parts, node)
    return Nothing()


def _layout_of(fn: Fn, piece: _Piece) -> tuple[Operand, Layout]:
    """A printed value in a form that can be sent, and its layout."""
    from osmia.frontends.python.kernel_fields import address, materialize

    operand = piece.operand
    if isinstance(operand, KPlace):
        operand = materialize(fn, operand, piece.node)
    if isinstance(operand, (KPtr, KPlace)):
        operand = Num(address(fn, operand, piece.node), U64)
        piece.spec = piece.spec or "#x"
    if isinstance(operand, Num):
        return operand, operand.type
    if isinstance(operand, Truth):
        return operand, BOOL
    if isinstance(operand, Mem):
        return operand, fn.unit.filled(operand.layout)
    if isinstance(operand, Group):
        parts = [_layout_of(fn, _Piece(item, piece.node, "", "")) for item in operand.items]
        layout = Struct.of("tuple", [(f"_{index}", part[1]) for index, part in enumerate(parts)])
        return Group([part[0] for part in parts]), layout
    number = None if isinstance(operand, (Nothing, Context)) else fn.as_number(operand, piece.node)
    if isinstance(number, Num):
        return number, number.type
    raise fn.error("PY200", piece.node, f"{operand.describe()} cannot be printed")


def _emit(fn: Fn, parts: list[str | _Piece], node: ast.AST) -> None:
    unit = fn.unit
    shown: list[Any] = []
    fields: list[tuple[str, Layout]] = [("id", U32)]
    values: list[tuple[Operand, ast.expr]] = []
    for part in parts:
        if isinstance(part, str):
            if shown and isinstance(shown[-1], str):
                shown[-1] += part
            else:
                shown.append(part)
            continue
        operand, layout = _layout_of(fn, part)
        shown.append((len(values), part.spec, part.conversion))
        fields.append((f"a{len(values)}", layout))
        values.append((operand, part.node))
    layout = Struct.of(f"print_{len(unit.prints)}", fields)
    number = len(unit.prints)
    span = fn.span(node)
    unit.prints.append(
        {"id": number, "pieces": shown, "layout": layout.plain(), "function": fn.ir.name, "line": span.line}
    )
    if PRINTS not in unit.module.maps:
        unit.module.maps[PRINTS] = MapSpec(PRINTS, "ringbuf", max_entries=_RING_SIZE, role="prints")
    # Everything is computed before room is reserved: nothing may leave the program while it holds the record.
    pointer = fn.fb.emit("ring.reserve", type=Ptr(Space.RING, layout, True), map=PRINTS)
    full, end = fn.blocks("full", "printed")
    from osmia.frontends.python.values import MaybePtr

    found = fn.split(MaybePtr(pointer, lambda tested: Mem(tested, layout)), full)
    assert isinstance(found, Mem)
    if memory.padded(layout):
        fn.fb.emit("zero", found.ptr, size=layout.size)
    first = layout.fields[0]
    fn.store(memory.part(fn, found, U32, first.offset, "id").pointer, fn.const(number, U32))
    for field, (operand, place) in zip(layout.fields[1:], values, strict=True):
        target = memory.part(fn, found, field.type, field.offset, field.name).pointer
        if isinstance(operand, Mem):
            fn.fb.emit("copy", target, operand.ptr, size=field.type.size)
        else:
            fn.write(target, field.type, operand, place)
    fn.fb.emit("ring.submit", found.ptr, flags=0)
    fn.goto(end)
    fn.enter(full)
    unit.count_cause(fn, "lines of print(): buffer was full")
    fn.goto(end)
    fn.enter(end)


# -- in the kernel ----------------------------------------------------------------------------------------------------

_SPECS = {"": None, "d": "d", "x": "x", "#x": "x", "s": "s", "c": "c", "u": "d", "X": "X", "o": "o"}


def _kernel_format(fn: Fn, node: ast.expr, what: str) -> tuple[str, list[Value]]:
    """A kernel format string and its 64-bit arguments."""
    form = ""
    values: list[Value] = []
    for part in pieces(fn, node):
        if isinstance(part, str):
            form += part.replace("%", "%%")
            continue
        if part.spec not in _SPECS or part.conversion not in ("", "s"):
            raise fn.error(
                "PY200", part.node, f"the kernel has no format {part.spec or part.conversion!r}",
                hint="it knows d, x, X, #x, o, s; print() formats in user space, with all of Python's formats",
            )  # fmt: skip
        text, value = _kernel_value(fn, part, what)
        form += text
        values.append(value)
    if not form:
        raise fn.error("PY200", node, "there is nothing to write")
    if not form.isascii():
        raise fn.error("PY200", node, "the kernel formats ASCII text only", hint="print() takes any text")
    return form, values


def _kernel_value(fn: Fn, part: _Piece, what: str) -> tuple[str, Value]:
    from osmia.frontends.python.kernel_fields import address, materialize

    operand = part.operand
    if isinstance(operand, KPlace):
        operand = materialize(fn, operand, part.node)
    if strings.is_text(operand) and isinstance(operand, Mem) and isinstance(operand.layout, Char):
        return "%s", _terminated(fn, operand)
    if isinstance(operand, KPtr):
        return "0x%llx", address(fn, operand, part.node)
    number = fn.as_number(operand, part.node)
    letter = _SPECS[part.spec]
    prefix = "0x" if part.spec == "#x" else ""
    if isinstance(number, Truth):
        return f"{prefix}%llu", fn.to_int(number, U64, part.node)
    assert isinstance(number, Num)
    if letter in ("x", "X", "o"):
        narrow = number.type.bits < 64
        value = fn.to_int(number, S64 if number.type.signed else U64, part.node)
        if number.type.signed:
            value = fn.fb.emit("retype", value, type=U64)
            if narrow:
                mask = fn.const((1 << number.type.bits) - 1, U64)
                value = fn.fb.emit("and", value, mask, type=U64)
        return f"{prefix}%ll{letter}", value
    if number.type.signed:
        value = fn.to_int(number, S64, part.node)
        return "%lld", fn.fb.emit("retype", value, type=U64)
    return "%llu", fn.to_int(number, U64, part.node)


def _terminated(fn: Fn, text: Mem) -> Value:
    """Text with a NUL byte at its end for sure."""
    size = text.layout.size
    copy = fn.temp(Char(size + 1), "text")
    fn.fb.emit("zero", copy.ptr, size=size + 1)
    fn.fb.emit("copy", copy.ptr, text.ptr, size=size)
    return copy.ptr


def _one(fn: Fn, node: ast.Call, name: str) -> ast.expr:
    from osmia.frontends.python.calls import arguments

    return arguments(fn, node, name, 1, 1)[0]


def printk(fn: Fn, node: ast.Call) -> Operand:
    """``printk(f"...")``."""
    item = _one(fn, node, "printk")
    form, values = _kernel_format(fn, item, "printk")
    if len(values) > 3:
        raise fn.error(
            "PY200", item, f"printk writes at most three values, not {len(values)}", hint="print() takes any number"
        )
    from osmia.frontends.python.helper_calls import check

    check(fn, "bpf_trace_printk")
    fn.fb.emit("printk", *values, format=form)
    return Nothing()


def _meta(fn: Fn, node: ast.AST) -> Value:
    from osmia.frontends.python.contexts import iterator_seq

    return iterator_seq(fn, node)


def seq_print(fn: Fn, node: ast.Call) -> Operand:
    """``seq_print(f"...")``: text in an iterator's output."""
    item = _one(fn, node, "seq_print")
    form, values = _kernel_format(fn, item, "seq_print")
    if len(values) > 12:
        raise fn.error("PY200", item, "seq_print writes at most 12 values")
    raw = form.encode() + b"\0"
    address = strings.constant(fn, raw, Char(len(raw)))
    seq = _meta(fn, node)
    if values:
        data = fn.temp(Array(U64, len(values)), "data")
        for index, value in enumerate(values):
            at = fn.fb.emit("element", data.ptr, fn.const(index, U32), type=Ptr(Space.STACK, U64))
            number = fn.fb.emit("ptr.to.int", value, type=U64) if isinstance(value.type, Ptr) else value
            fn.store(at, number)
        pointer = data.ptr
    else:
        pointer = fn.fb.emit("null", type=Ptr(Space.STACK, U64, True))
    fn.helper(
        "bpf_seq_printf", seq, address, fn.const(len(raw), U32), pointer, fn.const(8 * len(values), U32), type=S64
    )
    return Nothing()


def seq_write(fn: Fn, node: ast.Call) -> Operand:
    """``seq_write(struct)``: bytes in an iterator's output."""
    item = _one(fn, node, "seq_write")
    operand = fn.value(item)
    if not isinstance(operand, Mem):
        raise fn.error("PY197", item, f"a struct, text or bytes are needed, not {operand.describe()}")
    direct = direct_pointer(fn, operand, item)
    fn.helper("bpf_seq_write", _meta(fn, node), direct, fn.const(operand.layout.size, U32), type=S64)
    return Nothing()
