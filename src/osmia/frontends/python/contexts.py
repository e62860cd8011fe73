"""The program's argument: fields of uapi contexts, tracepoints, registers, samples, iterators; packets.

A :class:`Kind` is made for the hook (``hooks``); it says what attributes, elements and methods the argument has.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from osmia.abi import contexts as table
from osmia.compiler.ir import Block, KType, Ptr, Space, Value
from osmia.diagnostics import UsageError
from osmia.diagnostics.text import did_you_mean
from osmia.frontends.python import memory
from osmia.frontends.python.memory import Place
from osmia.frontends.python.values import Const, Context, KPtr, MaybePtr, Mem, Num, Operand, Pending
from osmia.object.layout import U64, Array, Bool, Bytes, Enum, Field, Int, Layout, Struct

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn

_MAX_OFFSET = 0xFFFF
_WRITABLE_PACKETS = ("xdp", "sched_cls", "sched_act", "sk_skb", "sk_msg", "lwt_xmit")


class Kind:
    """What a program's argument is. Each method refuses what its hook does not have."""

    text = "the hook's context"

    def attribute(self, fn: Fn, name: str, node: ast.AST) -> Operand:
        """``ctx.name``."""
        raise fn.error("PY122", node, f"{self.text} has no attribute {name!r}")

    def place(self, fn: Fn, name: str, node: ast.AST) -> Place:
        """Where ``ctx.name = ...`` stores."""
        raise fn.error("PY121", node, f"{name!r} of {self.text} cannot be written")

    def element(self, fn: Fn, index: Operand, node: ast.AST) -> Operand:
        """``ctx[i]``."""
        raise fn.error("PY133", node, f"{self.text} cannot be indexed")

    def method(self, fn: Fn, name: str, node: ast.Call) -> Operand:
        """``ctx.name(...)``."""
        raise fn.error("PY190", node.func, f"{self.text} has no method {name!r}")

    def parameter(self, fn: Fn, index: int, name: str, node: ast.AST) -> Operand | None:
        """What the hook gives for its parameter at ``index``; ``None`` where it takes its context only."""
        return None


def attribute(fn: Fn, base: Context, node: ast.Attribute) -> Operand:
    """``ctx.name``."""
    found: Operand = base.kind.attribute(fn, node.attr, node)
    return found


def place(fn: Fn, base: Context, node: ast.Attribute) -> Place:
    """Where ``ctx.name = ...`` stores."""
    found: Place = base.kind.place(fn, node.attr, node)
    return found


def element(fn: Fn, base: Context, index: Operand, node: ast.AST) -> Operand:
    """``ctx[i]``."""
    found: Operand = base.kind.element(fn, index, node)
    return found


def element_place(fn: Fn, base: Context, index: Operand, node: ast.AST) -> Place:
    """Where ``ctx[i] = ...`` stores."""
    raise fn.error("PY121", node, f"elements of {base.kind.text} cannot be written")


def method(fn: Fn, base: Context, name: str, node: ast.Call) -> Operand:
    """``ctx.name(...)``."""
    found: Operand = base.kind.method(fn, name, node)
    return found


def at_offset(fn: Fn, offset: int, type: Any, name: str) -> Value:
    """A pointer into the context."""
    return fn.fb.emit("field", fn.context_value(), type=Ptr(Space.CTX, type), offset=offset, name=name)


def arguments(fn: Fn, node: ast.Call, name: str, least: int, most: int) -> list[ast.expr]:
    """Positional arguments of a method."""
    from osmia.frontends.python.calls import arguments as checked

    return checked(fn, node, name, least, most)


# -- structs of the contract -----------------------------------------------------------------------


def _layout(field: table.Field) -> Layout:
    size = field.element_size
    if size not in (1, 2, 4, 8):
        return Bytes(field.size)
    kind = Int(size * 8, field.signed)
    return Array(kind, field.count) if field.count else kind


def socket_layout() -> Struct:
    """``struct bpf_sock`` as programs see it behind a pointer."""
    row = table.struct("bpf_sock")
    fields = [Field(item.name, _layout(item), item.offset) for item in row.fields.values() if not item.bits]
    return Struct("bpf_sock", fields, row.size, 8)


def is_socket(layout: Layout) -> bool:
    """Whether memory is a ``struct bpf_sock``."""
    return isinstance(layout, Struct) and layout.name == "bpf_sock"


def socket_field(fn: Fn, base: Mem, name: str, node: ast.AST) -> Place:
    """A field of a socket behind a pointer."""
    found = memory.field(fn, base, name, node)
    found.readonly = "a socket found by a program is read-only"
    return found


class StructKind(Kind):
    """A context that is a uapi struct."""

    def __init__(self, struct: str, prog_type: str, attach_type: str, text: str) -> None:
        self.row = table.struct(struct)
        self.prog_type = prog_type
        self.attach_type = attach_type
        self.text = text

    def _field(self, fn: Fn, name: str, node: ast.AST) -> table.Field:
        found = self.row.fields.get(name)
        if found is None:
            near = did_you_mean(name, self.row.fields)
            names = [item.name for item in self.row.fields.values() if item.readable(self.prog_type)]
            raise fn.error(
                "PY122", node, f"{self.text} has no field {name!r}",
                hint=f"{near + ' ' if near else ''}its fields: {', '.join(names)}",
            )  # fmt: skip
        return found

    def attribute(self, fn: Fn, name: str, node: ast.AST) -> Operand:
        field = self._field(fn, name, node)
        if not field.readable(self.prog_type, self.attach_type):
            raise fn.error("PY122", node, f"programs of this hook may not read {name!r} of {self.text}")
        if field.gives in ("pkt", "pkt_end", "pkt_meta"):
            pointer = packet_pointer(fn, field)
            return Num(fn.fb.emit("ptr.to.int", pointer, type=U64), U64)
        if field.gives.startswith("sock"):
            return self._socket(fn, field)
        if field.gives != "scalar":
            raise fn.error("PY122", node, f"{name!r} of {self.text} is of a kind that is not supported ({field.gives})")
        return self._place(fn, field).read(fn)

    def _socket(self, fn: Fn, field: table.Field) -> Operand:
        layout = socket_layout()
        nullable = field.gives.endswith("_or_null")
        kind = Ptr(Space.MEM, layout, nullable)
        value = fn.load(at_offset(fn, field.offset, kind, field.name), kind)
        if not nullable:
            return Mem(value, layout, writable=False)
        return MaybePtr(value, lambda tested: Mem(tested, layout, writable=False))

    def _place(self, fn: Fn, field: table.Field) -> Place:
        layout = _layout(field)
        writable = field.writable(self.prog_type, self.attach_type)
        why = "" if writable else f"{field.name!r} of {self.text} is read-only in this hook"
        return Place(at_offset(fn, field.offset, layout, field.name), layout, False, why)

    def place(self, fn: Fn, name: str, node: ast.AST) -> Place:
        return self._place(fn, self._field(fn, name, node))

    def method(self, fn: Fn, name: str, node: ast.Call) -> Operand:
        if name == "packet" and "data" in self.row.fields and "data_end" in self.row.fields:
            return packet(fn, self, node)
        return super().method(fn, name, node)


def packet_pointer(fn: Fn, field: table.Field) -> Value:
    """A packet pointer of the context."""
    if field.size == 8:
        kind = Ptr(Space.PACKET, None)
        return fn.load(at_offset(fn, field.offset, kind, field.name), kind)
    return fn.fb.emit(
        "ctx.packet", fn.context_value(), type=Ptr(Space.PACKET, None), offset=field.offset, name=field.name
    )


def packet(fn: Fn, kind: StructKind, node: ast.Call) -> Operand:
    """``ctx.packet(EthHdr, 14)``: a header, ``None`` where the packet ends before its end."""
    from osmia.frontends.python.intrinsics import type_argument

    if not kind.row.fields["data"].readable(kind.prog_type, kind.attach_type):
        raise fn.error("PY122", node, "programs of this hook may not look into packets")
    items = arguments(fn, node, "packet", 1, 2)
    layout = type_argument(fn, items[0])
    if isinstance(layout, KType):
        raise fn.error("PY197", items[0], "a header is a struct of fixed layout", hint="see osmia.lang.net")
    offset = fn.number(items[1]) if len(items) == 2 else Const(0)
    if isinstance(offset, Const) and not 0 <= offset.value <= _MAX_OFFSET:
        raise fn.error("PY105", items[1], f"offset {offset.value} is outside 0..{_MAX_OFFSET}")
    if isinstance(offset, Num) and offset.type.signed:
        # A negative offset becomes a huge one, which the check refuses.
        at = fn.fb.emit("retype", fn.to_int(offset, Int(64, True), items[1]), type=U64)
    else:
        at = fn.to_int(offset, U64, node)
    data, end = (packet_pointer(fn, kind.row.fields[name]) for name in ("data", "data_end"))
    writable = kind.prog_type in _WRITABLE_PACKETS
    size = layout.size
    assert isinstance(layout, Layout)
    found: Layout = layout

    def test(fn: Fn, there: Block, missing: Block) -> Operand:
        fn.note(there)
        fn.note(missing)
        pointer = fn.fb.emit(
            "br.packet", data, at, end, type=Ptr(Space.PACKET, found, False, size), size=size, then=there.label,
            other=missing.label,
        )  # fmt: skip
        fn.enter(there)
        return memory.read(fn, pointer, found, False, writable)

    return Pending(test)


# -- tracing ---------------------------------------------------------------------------------------


class RawKind(Kind):
    """Arguments of a raw or BTF tracepoint, or of a kernel function: 64-bit slots."""

    def __init__(self, args: list[tuple[str, Any]], direct: bool, text: str) -> None:
        self.args = args
        self.direct = direct
        self.text = text

    def element(self, fn: Fn, index: Operand, node: ast.AST) -> Operand:
        if not isinstance(index, Const) or not isinstance(index.value, int):
            raise fn.error("PY120", node, "an argument is named by a constant")
        if not 0 <= index.value < len(self.args):
            raise fn.error("PY120", node, f"{self.text} has {len(self.args)} arguments", hint=self._shown())
        return self.argument(fn, int(index.value), node)

    def _shown(self) -> str:
        from osmia.frontends.python.values import ktype_text

        return ", ".join(f"{name}: {ktype_text(kind)}" for name, kind in self.args) or "it has none"

    def argument(self, fn: Fn, index: int, node: ast.AST) -> Operand:
        """An argument by position, in its type from BTF."""
        name, kind = self.args[index]
        offset = index * 8
        if isinstance(kind, Ptr):
            to = kind.to
            direct = self.direct and isinstance(to, KType) and fn.unit.kernel(fn, node).composite(to) is not None
            space = kind.space if kind.space is Space.USER else Space.BTF if direct else Space.KERNEL
            target = Ptr(space, to)
            return KPtr(fn.load(at_offset(fn, offset, target, name), target), to)
        scalar = memory.scalar_type(kind) if isinstance(kind, Layout) else None
        if scalar is None:
            raise fn.error("PY132", node, f"argument {name} of {self.text} has a type that programs cannot take")
        value = fn.load(at_offset(fn, offset, U64, name), U64)
        if isinstance(scalar, Bool):
            from osmia.frontends.python.values import Truth

            low = fn.fb.emit("trunc", value, type=Int(8))
            return Truth(fn.compare("ne", low, fn.const(0, Int(8))))
        from osmia.frontends.python.numbers import convert

        return Num(convert(fn, value, U64, scalar), scalar)

    def attribute(self, fn: Fn, name: str, node: ast.AST) -> Operand:
        names = [item[0] for item in self.args]
        if name not in names:
            raise fn.error(
                "PY122", node, f"{self.text} has no argument {name!r}", hint=f"its arguments: {self._shown()}"
            )
        return self.argument(fn, names.index(name), node)

    def parameter(self, fn: Fn, index: int, name: str, node: ast.AST) -> Operand:
        if name == "ret" and self.args and self.args[-1][0] == "ret":
            index = len(self.args) - 1
        if index >= len(self.args):
            raise fn.error(
                "PY202", node, f"{self.text} has {len(self.args)} arguments, and this is number {index + 1}",
                hint=f"its arguments: {self._shown()}",
            )  # fmt: skip
        return self.argument(fn, index, node)


class RegsKind(Kind):
    """Registers at a probe.

    :ivar returning: the probe is at a function's return. :ivar user: in user space.
    """

    def __init__(self, machine: Any, returning: bool, user: bool) -> None:
        self.machine = machine
        self.returning = returning
        self.user = user
        self.text = "the registers of a probe"

    def register(self, fn: Fn, name: str) -> Num:
        """A register's value."""
        return Num(fn.load(at_offset(fn, self.machine.offset(name), U64, name), U64), U64)

    def attribute(self, fn: Fn, name: str, node: ast.AST) -> Operand:
        special = {"ret": self.machine.result, "ip": self.machine.ip, "sp": self.machine.sp, "fp": self.machine.fp}
        try:
            return self.register(fn, special.get(name, name))
        except UsageError as error:
            raise fn.error("PY122", node, f"there is no register {name!r}", hint=error.hint) from None

    def argument(self, fn: Fn, index: int, node: ast.AST) -> Operand:
        """An integer argument by the platform's calling convention."""
        if index < len(self.machine.args):
            return self.register(fn, self.machine.args[index])
        sp = self.register(fn, self.machine.sp)
        offset = self.machine.stack_args + 8 * (index - len(self.machine.args))
        number = fn.fb.emit("add", sp.value, fn.const(offset, U64), type=U64)
        space = Space.USER if self.user else Space.KERNEL
        pointer = fn.fb.emit("int.to.ptr", number, type=Ptr(space, U64))
        from osmia.frontends.python.kernel_fields import read_user

        if self.user:
            return read_user(fn, pointer, U64, node)
        return Num(fn.fb.emit("read.value", pointer, type=U64), U64)

    def method(self, fn: Fn, name: str, node: ast.Call) -> Operand:
        if name != "arg":
            return super().method(fn, name, node)
        (item,) = arguments(fn, node, "arg", 1, 1)
        index = fn.expr(item)
        if not isinstance(index, Const) or not isinstance(index.value, int) or not 0 <= index.value < 32:
            raise fn.error("PY120", item, "an argument is named by a constant from 0 to 31")
        if self.returning:
            raise fn.error(
                "PY202", node, "at a function's return its arguments are gone", hint="keep them in a map at entry"
            )
        return self.argument(fn, int(index.value), node)

    def parameter(self, fn: Fn, index: int, name: str, node: ast.AST) -> Operand | None:
        if not self.returning:
            return self.argument(fn, index, node)
        if index:
            raise fn.error("PY202", node, "at a function's return there is one value: its result")
        return self.register(fn, self.machine.result)


class UsdtKind(Kind):
    """Arguments of a USDT probe."""

    text = "a USDT probe"

    def method(self, fn: Fn, name: str, node: ast.Call) -> Operand:
        if name != "arg":
            return super().method(fn, name, node)
        (item,) = arguments(fn, node, "arg", 1, 1)
        index = fn.expr(item)
        if not isinstance(index, Const) or not isinstance(index.value, int) or not 0 <= index.value < 12:
            raise fn.error("PY120", item, "an argument is named by a constant from 0 to 11")
        return self.parameter(fn, int(index.value), name, node)

    def parameter(self, fn: Fn, index: int, name: str, node: ast.AST) -> Operand:
        from osmia.frontends.python import filter

        if index >= 12:
            raise fn.error("PY202", node, "a USDT probe has at most 12 arguments")
        return filter.usdt_argument(fn, index, node)


class PerfKind(RegsKind):
    """A sample of a perf event."""

    def __init__(self, machine: Any) -> None:
        super().__init__(machine, False, False)
        self.text = "a sample"

    def attribute(self, fn: Fn, name: str, node: ast.AST) -> Operand:
        offsets = {"sample_period": self.machine.size, "addr": self.machine.size + 8}
        if name in offsets:
            return Num(fn.load(at_offset(fn, offsets[name], U64, name), U64), U64)
        return super().attribute(fn, name, node)

    def parameter(self, fn: Fn, index: int, name: str, node: ast.AST) -> Operand | None:
        return None


class IterKind(Kind):
    """An iterator's step: pointers to typed kernel objects, and numbers.

    :ivar map: declaration of the map that is iterated over, for ``key`` and ``value``.
    """

    def __init__(self, name: str, map: Any = None) -> None:
        self.name = name
        self.map = map
        self.text = f"the step of an iterator over {name}"

    def attribute(self, fn: Fn, name: str, node: ast.AST) -> Operand:
        owner = KType(f"bpf_iter__{self.name}")
        from osmia.frontends.python.kernel_fields import member_of

        if name in ("key", "value") and self.map is not None:
            layout = self.map.key_layout if name == "key" else self.map.value_layout
            offset = member_of(fn, owner, name, node).offset
            kind = Ptr(Space.MEM, layout, True)
            value = fn.load(at_offset(fn, offset, kind, name), kind)
            return MaybePtr(value, lambda tested: memory.read(fn, tested, layout, False, False))
        member = member_of(fn, owner, name, node)
        if isinstance(member.type, Ptr) and isinstance(member.type.to, KType):
            to = member.type.to
            nullable = name != "meta"
            kind = Ptr(Space.BTF, to, nullable)
            value = fn.load(at_offset(fn, member.offset, kind, name), kind)
            return MaybePtr(value, lambda tested: KPtr(tested, to)) if nullable else KPtr(value, to)
        scalar = memory.scalar_type(member.type) if isinstance(member.type, (Int, Bool, Enum)) else None
        if scalar is None:
            raise fn.error("PY132", node, f"{name} of {self.text} has a type that programs cannot take")
        return memory.read(fn, at_offset(fn, member.offset, scalar, name), scalar)


def iterator_seq(fn: Fn, node: ast.AST) -> Value:
    """The output of an iterator, for ``seq_print`` and ``seq_write``."""
    if fn.program.hook.kind != "iter":
        raise fn.error("PY203", node, "only iterators have an output of their own", hint="use print() or a ring")
    from osmia.frontends.python.kernel_fields import attribute as kernel_attribute

    meta = IterKind(fn.program.hook.target).attribute(fn, "meta", node)
    assert isinstance(meta, KPtr)
    found = kernel_attribute(fn, meta, "seq", node)
    assert isinstance(found, KPtr)
    return found.value


class NoKind(Kind):
    """A hook without an argument."""

    text = "this hook, which has no argument,"
