"""The functions of ``osmia.lang.builtins``: one row each, from a call to IR."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import KType, Ptr, Space, Value
from osmia.diagnostics import UsageError
from osmia.frontends.python import kernel_fields, maps, memory, numbers, strings
from osmia.frontends.python.helper_calls import row as helper_row
from osmia.frontends.python.values import Const, KPlace, KPtr, Mem, Num, Operand, Truth
from osmia.lang import maps as M
from osmia.lang.hooks import Kfunc
from osmia.lang.types import KernelName, KernelType, layout_of
from osmia.object.layout import BOOL, S64, U16, U32, U64, Bool, Bytes, Char, Enum, Int, Layout

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn

_TEXT_SIZE = 256
_FAULT = b"<fault>"


def call(fn: Fn, name: str, node: ast.Call, want: Layout | None) -> Operand:
    """A call of an intrinsic."""
    fn.fb.span = fn.span(node)
    return _ROWS[name](fn, node, want)


def call_into(fn: Fn, name: str, node: ast.Call, pointer: Value, layout: Layout) -> bool:
    """Lets an intrinsic write its result where it belongs; whether it could."""
    if name == "comm" and layout == Char(16):
        _args(fn, node, "comm", 0)
        _comm(fn, pointer)
        return True
    if name in ("user_str", "kernel_str") and isinstance(layout, Char):
        size = _text_size(fn, node, name, layout)
        if size > layout.size:
            return False
        if size < layout.size:
            fn.fb.emit("zero", pointer, size=layout.size)
        _read_text(fn, node, pointer, size, name == "user_str")
        return True
    if name in ("user_bytes", "kernel_bytes") and isinstance(layout, Bytes):
        _read_bytes(fn, node, pointer, layout.size, name == "user_bytes")
        return True
    if name in ("user_read", "kernel_read") and memory.scalar_type(layout) is None:
        _, made = _address_and_type(fn, node, name)
        if made == layout:
            _read_memory(fn, node, pointer, layout.size, name == "user_read")
            return True
    return False


def _args(fn: Fn, node: ast.Call, name: str, least: int, most: int | None = None) -> list[ast.expr]:
    from osmia.frontends.python.calls import arguments

    return arguments(fn, node, name, least, least if most is None else most)


def _available(fn: Fn, helper: str) -> bool:
    found = helper_row(helper)
    program = fn.program
    return found is not None and found.allowed(program.prog_type, program.attach_type, program.sleepable)


# -- the current task ------------------------------------------------------------------------------


def _half(fn: Fn, helper: str, high: bool) -> Num:
    value = fn.helper(helper, type=U64)
    if high:
        value = fn.fb.emit("lshr", value, fn.const(32, U64), type=U64)
    return Num(fn.fb.emit("trunc", value, type=U32), U32)


def _pid(high: bool) -> Callable[[Fn, ast.Call, Layout | None], Operand]:
    def row(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
        from osmia.frontends.python import filter

        _args(fn, node, "pid" if high else "tid", 0)
        if not _available(fn, "bpf_get_ns_current_pid_tgid"):
            return _half(fn, "bpf_get_current_pid_tgid", high)
        return filter.current_id(fn, high, node)

    return row


def _comm(fn: Fn, pointer: Value) -> None:
    fn.helper("bpf_get_current_comm", pointer, fn.const(16, U32))


def _comm_row(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    _args(fn, node, "comm", 0)
    made = fn.temp(Char(16), "comm")
    _comm(fn, made.ptr)
    return made


def _ids(high: bool) -> Callable[[Fn, ast.Call, Layout | None], Operand]:
    def row(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
        _args(fn, node, "gid" if high else "uid", 0)
        return _half(fn, "bpf_get_current_uid_gid", high)

    return row


def _current(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    _args(fn, node, "current", 0)
    task = KType("task_struct")
    if _available(fn, "bpf_get_current_task_btf"):
        return KPtr(fn.helper("bpf_get_current_task_btf", type=Ptr(Space.BTF, task)), task)
    number = fn.helper("bpf_get_current_task", type=U64)
    return KPtr(fn.fb.emit("int.to.ptr", number, type=Ptr(Space.KERNEL, task)), task)


def _simple(helper: str, type: Int) -> Callable[[Fn, ast.Call, Layout | None], Operand]:
    """A helper without arguments that gives a number."""

    def row(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
        _args(fn, node, helper, 0)
        value = fn.helper(helper, type=U64)
        return Num(value if type.bits == 64 else fn.fb.emit("trunc", value, type=type), type)

    return row


def _ancestor(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    (level,) = _args(fn, node, "ancestor_cgroup_id", 1)
    value = fn.to_int(fn.value(level), U32, level)
    return Num(fn.helper("bpf_get_current_ancestor_cgroup_id", value, type=U64), U64)


def _selected(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    from osmia.frontends.python import filter

    (item,) = _args(fn, node, "selected", 1)
    return filter.selected(fn, fn.number(item), node)


def _with_context(helper: str) -> Callable[[Fn, ast.Call, Layout | None], Operand]:
    def row(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
        _args(fn, node, helper, 0)
        return Num(fn.helper(helper, fn.context_value(), type=U64), U64)

    return row


def _stack(user: bool) -> Callable[[Fn, ast.Call, Layout | None], Operand]:
    def row(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
        items = _args(fn, node, "ustack" if user else "kstack", 1, 2)
        target = fn.value(items[0])
        if not isinstance(maps.declaration(target), M.StackTrace):
            raise fn.error("PY197", items[0], f"a prog.stack_trace() is needed, not {target.describe()}")
        skip = fn.value(items[1]) if len(items) == 2 else Const(0)
        if not isinstance(skip, Const) or not isinstance(skip.value, int) or not 0 <= skip.value < 256:
            raise fn.error("PY197", items[1], "the number of frames to skip is a constant from 0 to 255")
        flags = int(skip.value) | (0x100 if user else 0)
        reference = maps.reference(fn, target, items[0])
        return Num(fn.helper("bpf_get_stackid", fn.context_value(), reference, fn.const(flags, U64)), S64)

    return row


# -- memory by address -----------------------------------------------------------------------------


def source_pointer(fn: Fn, operand: Operand, user: bool, node: ast.AST) -> Value:
    """An address as a pointer to user or kernel memory.

    :raises CompileError: PY199 where the operand is known to be of the other memory.
    """
    operand = fn.unwrap(operand, node)
    space = Space.USER if user else Space.KERNEL
    if isinstance(operand, (KPtr, KPlace)):
        if (operand.space is Space.USER) != user and not (
            isinstance(operand, KPtr) and operand.space is Space.KERNEL and operand.to is None
        ):
            other = "user" if operand.space is Space.USER else "kernel"
            raise fn.error(
                "PY199", node, f"this is an address in {other} memory", hint=f"read it with {other}_str or {other}_read"
            )
        if isinstance(operand, KPtr) and operand.space is space:
            return operand.value
        if isinstance(operand, KPlace):
            return kernel_fields.probe_address(fn, operand)
        number = kernel_fields.address(fn, operand, node)
    elif isinstance(operand, Mem):
        raise fn.error(
            "PY199", node, f"{operand.describe()} is the program's own memory, no address", hint="use it as it is"
        )
    else:
        number = fn.to_int(operand, U64, node)
    return fn.fb.emit("int.to.ptr", number, type=Ptr(space, None))


def _text_size(fn: Fn, node: ast.Call, name: str, want: Layout | None) -> int:
    items = _args(fn, node, name, 1, 2)
    if len(items) == 2:
        size = fn.expr(items[1])
        if not isinstance(size, Const) or not isinstance(size.value, int) or not 0 < size.value <= 1 << 15:
            raise fn.error("PY197", items[1], f"the size of {name}() is a constant from 1 to {1 << 15}")
        return int(size.value)
    return want.size if isinstance(want, Char) else _TEXT_SIZE


def _read_text(fn: Fn, node: ast.Call, pointer: Value, size: int, user: bool) -> None:
    """Text at an address; bytes after its end are zero, and where nothing can be read the text says so."""
    source = source_pointer(fn, fn.expr(node.args[0]), user, node.args[0])
    fn.fb.emit("zero", pointer, size=size)
    result = fn.fb.emit("read.user_str" if user else "read.kernel_str", pointer, source, type=S64, size=size)
    failed = fn.unit.count_fault(fn, result)
    fault, end = fn.blocks("unreadable", "text")
    fn.condbr(failed, fault, end)
    fn.enter(fault)
    raw = (_FAULT if size >= len(_FAULT) else b"?")[:size]
    fn.fb.emit("copy", pointer, strings.constant(fn, raw, Bytes(len(raw))), size=len(raw))
    fn.goto(end)
    fn.enter(end)


def _text_row(user: bool) -> Callable[[Fn, ast.Call, Layout | None], Operand]:
    def row(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
        size = _text_size(fn, node, "user_str" if user else "kernel_str", want)
        made = fn.temp(Char(size), "text")
        _read_text(fn, node, made.ptr, size, user)
        return made

    return row


def _read_bytes(fn: Fn, node: ast.Call, pointer: Value, size: int, user: bool) -> None:
    """Bytes at an address into room for ``size``; fewer where the call says so, the rest zero."""
    name = "user_bytes" if user else "kernel_bytes"
    items = _args(fn, node, name, 2)
    source = source_pointer(fn, fn.expr(items[0]), user, items[0])
    count = fn.number(items[1])
    row = "read.user" if user else "read.kernel"
    if isinstance(count, Const):
        if not 0 < count.value <= size:
            raise fn.error("PY105", items[1], f"{count.value} bytes do not fit the {size} there are")
        if count.value < size:
            fn.fb.emit("zero", pointer, size=size)
        fn.unit.count_fault(fn, fn.fb.emit(row, pointer, source, type=S64, size=int(count.value)))
        return
    assert isinstance(count, Num)
    fn.fb.emit("zero", pointer, size=size)
    signed = count.type.signed
    wide = fn.to_int(count, S64 if signed else U64, items[1])
    bits = fn.fb.emit("retype", wide, type=U64) if signed else wide
    most = fn.const(size, U64)
    cut = fn.fb.emit("select", fn.compare("ugt", bits, most), most, bits, type=U64)
    fn.unit.count_fault(fn, fn.fb.emit(row, pointer, source, cut, type=S64, size=size))


def _bytes_row(user: bool) -> Callable[[Fn, ast.Call, Layout | None], Operand]:
    def row(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
        items = _args(fn, node, "user_bytes" if user else "kernel_bytes", 2)
        count = fn.expr(items[1])
        if isinstance(count, Const) and isinstance(count.value, int) and 0 < count.value <= 1 << 15:
            size = int(count.value)
        elif isinstance(want, Bytes):
            size = want.size
        else:
            raise fn.error(
                "PY197", items[1], "the number of bytes is a constant here", hint="or store into a Bytes[n] field"
            )
        made = fn.temp(Bytes(size), "bytes")
        _read_bytes(fn, node, made.ptr, size, user)
        return made

    return row


def type_argument(fn: Fn, node: ast.expr) -> Layout | KType:
    """A type given as an argument."""
    operand = fn.expr(node)
    if isinstance(operand, Const):
        if isinstance(operand.value, KernelType):
            return kernel_fields.ktype_of(fn, operand.value.name, node)
        try:
            return layout_of(operand.value, "this type")
        except UsageError as error:
            raise fn.error("PY197", node, error.message, hint=error.hint) from None
    raise fn.error("PY197", node, f"a type is needed here, not {operand.describe()}", hint="such as u32 or Char[16]")


def _address_and_type(fn: Fn, node: ast.Call, name: str) -> tuple[ast.expr, Layout]:
    items = _args(fn, node, name, 2)
    layout = type_argument(fn, items[1])
    if isinstance(layout, KType):
        raise fn.error(
            "PY197", items[1], "kernel types are not copied whole", hint="cast(address, type) makes a pointer"
        )
    return items[0], layout


def _read_memory(fn: Fn, node: ast.Call, pointer: Value, size: int, user: bool) -> None:
    source = source_pointer(fn, fn.expr(node.args[0]), user, node.args[0])
    result = fn.fb.emit("read.user" if user else "read.kernel", pointer, source, type=S64, size=size)
    fn.unit.count_fault(fn, result)


def _read_row(user: bool) -> Callable[[Fn, ast.Call, Layout | None], Operand]:
    def row(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
        _, layout = _address_and_type(fn, node, "user_read" if user else "kernel_read")
        made = fn.temp(layout, "read")
        _read_memory(fn, node, made.ptr, layout.size, user)
        return memory.read(fn, made.ptr, layout)

    return row


def _cast(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    items = _args(fn, node, "cast", 2)
    kind = type_argument(fn, items[1])
    if not isinstance(kind, KType):
        raise fn.error("PY197", items[1], "cast() takes a kernel type", hint="kernel_read(p, u32) reads a number")
    return kernel_fields.typed_pointer(fn, fn.value(items[0]), kind, items[0])


def _addr(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    (item,) = _args(fn, node, "addr", 1)
    return Num(kernel_fields.address(fn, fn.value(item), item), U64)


# -- bytes and bits --------------------------------------------------------------------------------


def _swap(type: Int) -> Callable[[Fn, ast.Call, Layout | None], Operand]:
    """Between network order (big endian) and the CPU's, which is little endian on every target."""

    def row(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
        (item,) = _args(fn, node, "this function", 1)
        number = fn.number(item)
        if isinstance(number, Const):
            size = type.size
            value = numbers.wrapped(int(number.value), type)
            return Const(int.from_bytes(value.to_bytes(size, "little"), "big"))
        value_ = fn.to_int(number, type, item)
        return Num(fn.fb.emit("bswap", value_, type=type), type)

    return row


def _log2(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    (item,) = _args(fn, node, "log2", 1)
    number = fn.number(item)
    if isinstance(number, Const):
        return Const(max(0, int(number.value).bit_length() - 1))
    return Num(maps.highest_bit(fn, fn.to_int(number, U64, item)), U32)


def _signed(signed: bool) -> Callable[[Fn, ast.Call, Layout | None], Operand]:
    def row(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
        (item,) = _args(fn, node, "signed" if signed else "unsigned", 1)
        number = fn.number(item)
        if not isinstance(number, Num):
            raise fn.error("PY106", item, "a number of the program is needed, with a width of its own")
        kind = Int(number.type.bits, signed)
        return Num(numbers.convert(fn, number.value, number.type, kind), kind)

    return row


# -- what the running kernel has -------------------------------------------------------------------


def _field_question(name: str, type: Any) -> Callable[[Fn, ast.Call, Layout | None], Operand]:
    def row(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
        (item,) = _args(fn, node, name.replace("core.", ""), 1)
        path = kernel_fields.path_of(fn, item)
        if path is None:
            if type is BOOL:
                return Const(False)  # the kernel this is compiled for does not have it
            raise fn.error("PY131", item, "the kernel does not have this field", hint="ask with field_exists() first")
        base, steps = path
        value = fn.fb.emit(name, type=type, base=base, steps=steps)
        return Truth(value) if type is BOOL else Num(value, type)

    return row


def _type_question(name: str, type: Any) -> Callable[[Fn, ast.Call, Layout | None], Operand]:
    def row(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
        (item,) = _args(fn, node, name.replace("core.", ""), 1)
        operand = fn.expr(item)
        if not isinstance(operand, Const) or not isinstance(operand.value, KernelType):
            raise fn.error("PY135", item, f"a kernel type is needed here, not {operand.describe()}")
        base = fn.unit.kernel(fn, item).named(operand.value.name)
        if base is None:
            if type is BOOL:
                return Const(False)
            kernel_fields.ktype_of(fn, operand.value.name, item)
        value = fn.fb.emit(name, type=type, base=base)
        return Truth(value) if type is BOOL else Num(value, type)

    return row


def _enum_name(fn: Fn, node: ast.Call, name: str) -> tuple[KernelName, ast.expr]:
    (item,) = _args(fn, node, name, 1)
    operand = fn.expr(item)
    if not isinstance(operand, Const) or not isinstance(operand.value, KernelName):
        raise fn.error("PY136", item, "an enumerator is needed here", hint="such as tcp_state.TCP_CLOSE")
    return operand.value, item


def _enum_value(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    name, item = _enum_name(fn, node, "enum_value")
    return kernel_fields.enumerator(fn, name, item)


def _enum_exists(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    name, item = _enum_name(fn, node, "enum_exists")
    found = fn.unit.kernel(fn, item).enum(name.type.name)
    if found is None or name.name not in [one.name for one in found.values]:
        return Const(False)
    base, _ = kernel_fields.enum_base(fn, name, item)
    return Truth(fn.fb.emit("core.enum_exists", type=BOOL, base=base, enumerator=name.name))


def _text_constant(fn: Fn, node: ast.expr) -> str:
    operand = fn.expr(node)
    if not isinstance(operand, Const) or not isinstance(operand.value, str) or not operand.value:
        raise fn.error("PY197", node, "a constant name is needed here")
    return operand.value


def _kconfig(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    items = _args(fn, node, "kconfig", 2)
    name = _text_constant(fn, items[0])
    layout = type_argument(fn, items[1])
    scalar = memory.scalar_type(layout) if isinstance(layout, (Int, Bool, Enum)) else None
    if scalar is None:
        raise fn.error("PY197", items[1], "a configuration value is a number or a bool")
    if not name.startswith("CONFIG_") and name not in ("LINUX_KERNEL_VERSION",):
        raise fn.error("PY197", items[0], f"{name!r} is no configuration option", hint="they begin with CONFIG_")
    value = fn.fb.emit("kconfig", type=scalar, name=name)
    return Truth(value) if isinstance(scalar, Bool) else Num(value, scalar)


def _ksym(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    weak = False
    for keyword in node.keywords:
        value = fn.expr(keyword.value)
        if keyword.arg != "weak" or not isinstance(value, Const) or not isinstance(value.value, bool):
            raise fn.error("PY182", keyword.value, "ksym() takes a name and weak=True or False")
        weak = value.value
    plain = ast.copy_location(ast.Call(func=node.func, args=node.args, keywords=[]), node)
    (item,) = _args(fn, plain, "ksym", 1)
    name = _text_constant(fn, item)
    pointer = fn.fb.emit("ksym.addr", type=Ptr(Space.KERNEL, None, weak), name=name, weak=weak)
    return Num(fn.fb.emit("ptr.to.int", pointer, type=U64), U64)


def _exists(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    (item,) = _args(fn, node, "exists", 1)
    operand = fn.expr(item)
    if not isinstance(operand, Const) or not isinstance(operand.value, Kfunc):
        raise fn.error("PY197", item, "a function declared with @prog.kfunc(weak=True) is needed here")
    if fn.unit.kernel(fn, item).function(operand.value.name) is None:
        return Const(False)
    if not operand.value.weak:
        return Const(True)  # the program does not load without it
    return Truth(fn.fb.emit("kfunc.exists", type=BOOL, name=operand.value.name))


def _printk(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    from osmia.frontends.python import prints

    return prints.printk(fn, node)


def _seq_print(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    from osmia.frontends.python import prints

    return prints.seq_print(fn, node)


def _seq_write(fn: Fn, node: ast.Call, want: Layout | None) -> Operand:
    from osmia.frontends.python import prints

    return prints.seq_write(fn, node)


_ROWS: dict[str, Callable[[Fn, ast.Call, Layout | None], Operand]] = {
    "pid": _pid(True),
    "tid": _pid(False),
    "comm": _comm_row,
    "uid": _ids(False),
    "gid": _ids(True),
    "current": _current,
    "cgroup_id": _simple("bpf_get_current_cgroup_id", U64),
    "ancestor_cgroup_id": _ancestor,
    "selected": _selected,
    "cpu": _simple("bpf_get_smp_processor_id", U32),
    "numa_node": _simple("bpf_get_numa_node_id", U32),
    "ktime_ns": _simple("bpf_ktime_get_ns", U64),
    "boot_ns": _simple("bpf_ktime_get_boot_ns", U64),
    "tai_ns": _simple("bpf_ktime_get_tai_ns", U64),
    "jiffies": _simple("bpf_jiffies64", U64),
    "random_u32": _simple("bpf_get_prandom_u32", U32),
    "func_ip": _with_context("bpf_get_func_ip"),
    "attach_cookie": _with_context("bpf_get_attach_cookie"),
    "kstack": _stack(False),
    "ustack": _stack(True),
    "user_str": _text_row(True),
    "kernel_str": _text_row(False),
    "user_bytes": _bytes_row(True),
    "kernel_bytes": _bytes_row(False),
    "user_read": _read_row(True),
    "kernel_read": _read_row(False),
    "cast": _cast,
    "addr": _addr,
    "printk": _printk,
    "seq_print": _seq_print,
    "seq_write": _seq_write,
    "ntohs": _swap(U16),
    "ntohl": _swap(U32),
    "ntohll": _swap(U64),
    "htons": _swap(U16),
    "htonl": _swap(U32),
    "htonll": _swap(U64),
    "log2": _log2,
    "signed": _signed(True),
    "unsigned": _signed(False),
    "field_exists": _field_question("core.field_exists", BOOL),
    "field_size": _field_question("core.field_size", U64),
    "field_offset": _field_question("core.field_offset", U64),
    "type_exists": _type_question("core.type_exists", BOOL),
    "type_size": _type_question("core.type_size", U64),
    "enum_value": _enum_value,
    "enum_exists": _enum_exists,
    "kconfig": _kconfig,
    "ksym": _ksym,
    "exists": _exists,
}
"""Every function of ``osmia.lang.builtins``."""

INTRINSICS = frozenset(_ROWS)
