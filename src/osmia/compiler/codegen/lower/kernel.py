"""CO-RE accesses, kernel symbols, configuration values and packet pointers of the context."""

from __future__ import annotations

from osmia.compiler.codegen import core
from osmia.compiler.codegen.address import Address
from osmia.compiler.codegen.debug import escape
from osmia.compiler.codegen.lower.registry import lowers
from osmia.compiler.ir import KType, Ptr, Space
from osmia.object.layout import Bool, Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.codegen.core import StepType
    from osmia.compiler.codegen.function import FunctionLowering
    from osmia.compiler.ir import Op
    from osmia.diagnostics import Span

_STRUCT = "@llvm.preserve.struct.access.index.p0.p0"
_UNION = "@llvm.preserve.union.access.index.p0.p0"
_ARRAY = "@llvm.preserve.array.access.index.p0.p0"


def _path(
    f: FunctionLowering, pointer: str, base: KType, steps: tuple[tuple[str | int, StepType], ...], span: Span
) -> str:
    """The chain of access intrinsics from a pointer to ``base``; LLVM turns it into one relocated offset."""
    kernel = f.module.kernel_types
    current: StepType = base
    for step, type_ in steps:
        if isinstance(step, str):
            assert isinstance(current, KType)
            composite, index = kernel.member(current, step, type_, span)
            name = f"%core.{composite.index}"
            note = f", !llvm.preserve.access.index {composite.outer}"
            if current.kind == "union":
                f.need(f"declare ptr {_UNION}(ptr, i32)")
                pointer = f.assign(f"call ptr {_UNION}(ptr {pointer}, i32 {index})", note)
            else:
                f.need(f"declare ptr {_STRUCT}(ptr, i32, i32)")
                pointer = f.assign(
                    f"call ptr {_STRUCT}(ptr elementtype({name}) {pointer}, i32 {index}, i32 {index})", note
                )
        else:
            note = f", !llvm.preserve.access.index {kernel.debug(current)}"
            f.need(f"declare ptr {_ARRAY}(ptr, i32, i32)")
            pointer = f.assign(
                f"call ptr {_ARRAY}(ptr elementtype({kernel.llvm(current)}) {pointer}, i32 1, i32 {step})", note
            )
        current = type_
    return pointer


@lowers("core_field")
def _lower_core_field(f: FunctionLowering, op: Op) -> None:
    pointer = _path(f, f.operand(op.args[0]), op.attrs["base"], tuple(op.attrs["steps"]), op.span)
    f.define_address(f.result(op), Address(pointer, 0, 8))


def _info(f: FunctionLowering, place: str, kind: int) -> str:
    f.need("declare i32 @llvm.bpf.preserve.field.info.p0(ptr, i64)")
    # Hidden: LLVM's pass fails an assertion on a record that nothing uses.
    return f.hide(f.assign(f"call i32 @llvm.bpf.preserve.field.info.p0(ptr {place}, i64 {kind})"), "i32")


@lowers("core_bitfield")
def _lower_core_bitfield(f: FunctionLowering, op: Op) -> None:
    """Reads the unit that holds the field, as many bytes as this kernel says, and shifts the field out of it."""
    source, result = op.args[0], f.result(op)
    assert isinstance(source.type, Ptr) and isinstance(result.type, Int)
    base, steps = op.attrs["base"], tuple(op.attrs["steps"])
    pointer = f.operand(source)

    def info(kind: int) -> str:
        return _info(f, _path(f, pointer, base, steps, op.span), kind)

    offset = f.assign(f"zext i32 {info(core.FIELD_OFFSET)} to i64")
    unit = f.hide(f.assign(f"getelementptr i8, ptr {pointer}, i64 {offset}"), "ptr")
    size = info(core.FIELD_SIZE)
    if source.type.space in (Space.KERNEL, Space.USER):
        temp = f.temp()
        f.emit(f"store i64 0, ptr {temp}, align 8")
        wide = f.assign(f"zext i32 {size} to i64")
        kind = "user" if source.type.space is Space.USER else "kernel"
        f.call_helper(f"probe_read_{kind}", "i64", [f"ptr {temp}", f"i64 {wide}", f"ptr {unit}"])
        value = f.assign(f"load i64, ptr {temp}, align 8")
    else:
        value = _load_unit(f, unit, size)
    left = f.assign(f"zext i32 {info(core.FIELD_LSHIFT)} to i64")
    right = f.assign(f"zext i32 {info(core.FIELD_RSHIFT)} to i64")
    value = f.assign(f"shl i64 {value}, {f.assign(f'and i64 {left}, 63')}")
    shift = "ashr" if result.type.signed else "lshr"
    value = f.assign(f"{shift} i64 {value}, {f.assign(f'and i64 {right}, 63')}")
    f.define(result, value if result.type.bits == 64 else f.assign(f"trunc i64 {value} to i{result.type.bits}"))


def _load_unit(f: FunctionLowering, unit: str, size: str) -> str:
    """Loads 1, 2, 4 or 8 bytes; the size is a constant once the program is relocated."""
    done = f.new_label()
    labels = {width: f.new_label() for width in (1, 2, 4, 8)}
    none = f.new_label()
    cases = " ".join(f"i32 {width}, label %{label}" for width, label in labels.items())
    f.emit(f"switch i32 {size}, label %{none} [ {cases} ]")
    arms = []
    for width, label in labels.items():
        f.place(label)
        value = f.assign(f"load volatile i{width * 8}, ptr {unit}, align {width}")
        if width != 8:
            value = f.assign(f"zext i{width * 8} {value} to i64")
        arms.append(f"[ {value}, %{label} ]")
        f.emit(f"br label %{done}")
    f.place(none)
    f.emit(f"br label %{done}")
    f.place(done)
    return f.assign(f"phi i64 {', '.join(arms)}, [ 0, %{none} ]")


@lowers("core_info")
def _lower_core_info(f: FunctionLowering, op: Op) -> None:
    result = f.result(op)
    base: KType = op.attrs["base"]
    kernel = f.module.kernel_types
    what = op.name.partition(".")[2]
    if what.startswith("enum"):
        node, number = kernel.enumerator(base, op.attrs["enumerator"])
        flag = core.ENUM_VALUE if what == "enum_value" else core.ENUM_EXISTS
        kernel.used = True
        text = f.module.constant(f"{op.attrs['enumerator']}:{number}")
        f.need("declare i64 @llvm.bpf.preserve.enum.value(i32, ptr, i64)")
        sequence = f.module.sequence()
        value = f.assign(
            f"call i64 @llvm.bpf.preserve.enum.value(i32 {sequence}, ptr {text}, i64 {flag})",
            f", !llvm.preserve.access.index {node}",
        )
        type_ = "i64"
        value = f.hide(value, type_)
    elif what.startswith("type"):
        flag = core.TYPE_EXISTS if what == "type_exists" else core.TYPE_SIZE
        kernel.used = True
        f.need("declare i32 @llvm.bpf.preserve.type.info(i32, i64)")
        value = f.assign(
            f"call i32 @llvm.bpf.preserve.type.info(i32 {f.module.sequence()}, i64 {flag})",
            f", !llvm.preserve.access.index {kernel.type_node(base)}",
        )
        type_ = "i32"
        value = f.hide(value, type_)
    else:
        kind = {"field_exists": core.FIELD_EXISTS, "field_size": core.FIELD_SIZE, "field_offset": core.FIELD_OFFSET}
        value = _info(f, _path(f, "null", base, tuple(op.attrs["steps"]), op.span), kind[what])
        type_ = "i32"
    if isinstance(result.type, Bool):
        f.define(result, f.assign(f"icmp ne {type_} {value}, 0"))
        return
    f.define(result, f.resize(value, type_, f"i{result.type.bits}", False))  # type: ignore[union-attr]


@lowers("ksym_addr")
def _lower_ksym_addr(f: FunctionLowering, op: Op) -> None:
    result = f.result(op)
    assert isinstance(result.type, Ptr)
    typed = result.type.space is Space.BTF and result.type.to is not None
    name = f.module.external_symbol(op.attrs["name"], result.type if typed else None, bool(op.attrs.get("weak")))
    f.define_pointer(result, name)


@lowers("kconfig")
def _lower_kconfig(f: FunctionLowering, op: Op) -> None:
    result = f.result(op)
    type_ = "i8" if isinstance(result.type, Bool) else f.type_of(result)
    name = f.module.kconfig_symbol(op.attrs["name"], result.type, op.span)
    value = f.assign(f"load {type_}, ptr {name}, align {int(type_[1:]) // 8}")
    if isinstance(result.type, Bool):
        value = f.assign(f"icmp ne i8 {value}, 0")
    f.define(result, value)


@lowers("ctx_packet")
def _lower_ctx_packet(f: FunctionLowering, op: Op) -> None:
    """Contexts show packet pointers as 32-bit fields; the verifier makes a pointer of exactly that load."""
    pointer = f.context(op)
    value = f.assign(f.context_load(pointer, op.attrs["offset"], "i32", 4))
    # Hidden: the extension must not move away from the load, which alone gives the verifier a pointer.
    wide = f.hide(f.assign(f"zext i32 {value} to i64"), "i64")
    f.define_pointer(f.result(op), f.assign(f"inttoptr i64 {wide} to ptr"))


def text_constant(text: str) -> str:
    """An LLVM string constant with its NUL."""
    return f'c"{escape(text)}\\00"'
