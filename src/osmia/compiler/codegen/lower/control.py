"""Terminators, and the checks that the kernel's verifier must see as they are written."""

from __future__ import annotations

from osmia.compiler.codegen.lower.registry import lowers
from osmia.compiler.ir import VOID
from osmia.object.layout import Bool, Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.codegen.function import FunctionLowering
    from osmia.compiler.ir import Op

MAX_PACKET_OFFSET = 0xFFFF


@lowers("br")
def _lower_br(f: FunctionLowering, op: Op) -> None:
    f.emit(f"br label %{f.label(op.attrs['to'])}")


@lowers("condbr")
def _lower_condbr(f: FunctionLowering, op: Op) -> None:
    then, other = f.label(op.attrs["then"]), f.label(op.attrs["other"])
    f.emit(f"br i1 {f.operand(op.args[0])}, label %{then}, label %{other}")


@lowers("switch")
def _lower_switch(f: FunctionLowering, op: Op) -> None:
    value = op.args[0]
    type_ = f.type_of(value)
    mask = (1 << int(type_[1:])) - 1
    cases = " ".join(f"{type_} {number & mask}, label %{f.label(label)}" for number, label in op.attrs["cases"])
    f.emit(f"switch {type_} {f.operand(value)}, label %{f.label(op.attrs['default'])} [ {cases} ]")


@lowers("ret")
def _lower_ret(f: FunctionLowering, op: Op) -> None:
    returns = f.return_type
    if returns == "void":
        f.emit("ret void")
    elif not op.args:
        f.emit(f"ret {returns} 0")
    else:
        value = op.args[0]
        f.emit(f"ret {returns} {f.extend(f.operand(value), value.type, returns)}")


@lowers("unreachable")
def _lower_unreachable(f: FunctionLowering, op: Op) -> None:
    # LLVM's own unreachable lets execution run into whatever follows, or calls a trap that older kernels do not have.
    returns = f.return_type
    f.emit("ret void" if returns == "void" else f"ret {returns} {'null' if returns == 'ptr' else 0}")


@lowers("br_nonnull")
def _lower_br_nonnull(f: FunctionLowering, op: Op) -> None:
    """The pointer used afterwards is a copy that LLVM knows nothing of: no use of it moves before the check."""
    pointer = f.operand(op.args[0])
    present = f.assign(f"icmp ne ptr {pointer}, null")
    checked = f.new_label()
    f.emit(f"br i1 {present}, label %{checked}, label %{f.label(op.attrs['other'])}")
    f.place(checked)
    f.define_pointer(f.result(op), f.hide(pointer, "ptr"))
    f.leave(op.attrs["then"])


@lowers("br_inrange")
def _lower_br_inrange(f: FunctionLowering, op: Op) -> None:
    """Compares a copy of the index, and bounds the copy that is used once more where it is used.

    The second bound (a mask, or a minimum) never changes the value. It is there because LLVM may keep the index on the
    stack before the comparison and load it back afterwards, where older verifiers do not know its bound.
    """
    index, count = op.args[0], op.attrs["count"]
    type_ = f.type_of(index)
    value = f.operand(index)
    if type_ != "i64":
        value = f.assign(f"zext {type_} {value} to i64")
    value = f.hide(value, "i64")
    inside = f.assign(f"icmp ult i64 {value}, {count}")
    checked = f.new_label()
    f.emit(f"br i1 {inside}, label %{checked}, label %{f.label(op.attrs['other'])}")
    f.place(checked)
    bounded = f.bound(value, count - 1)
    result = f.result(op)
    f.wide[result.name] = bounded
    f.define(result, bounded if type_ == "i64" else f.assign(f"trunc i64 {bounded} to {type_}"))
    f.leave(op.attrs["then"])


@lowers("br_packet")
def _lower_br_packet(f: FunctionLowering, op: Op) -> None:
    """``data + offset + size <= end``, on the register that is used afterwards."""
    data, offset, end = op.args
    size = op.attrs["size"]
    other = f.label(op.attrs["other"])
    value = f.operand(offset)
    limit = MAX_PACKET_OFFSET - size
    base = f.operand(data)
    if limit < 0:
        f.emit(f"br label %{other}")
        f.place(f.new_label())
        f.define_pointer(f.result(op), base)
        f.leave(op.attrs["then"])
        return
    if value.isdigit():
        constant = int(value)
        start = base
        if constant > limit:
            start = f.hide(base, "ptr")
            never = f.new_label()
            f.emit(f"br i1 false, label %{never}, label %{other}")
            f.place(never)
        elif constant:
            start = f.assign(f"getelementptr i8, ptr {base}, i64 {constant}")
    else:
        value = f.hide(value, "i64")
        near = f.assign(f"icmp ule i64 {value}, {limit}")
        bounded = f.new_label()
        f.emit(f"br i1 {near}, label %{bounded}, label %{other}")
        f.place(bounded)
        start = f.assign(f"getelementptr i8, ptr {base}, i64 {f.bound(value, limit)}")
    start = f.hide(start, "ptr")
    past = f.assign(f"getelementptr i8, ptr {start}, i64 {size}")
    outside = f.assign(f"icmp ugt ptr {past}, {f.operand(end)}")
    checked = f.new_label()
    f.emit(f"br i1 {outside}, label %{other}, label %{checked}")
    f.place(checked)
    f.define_pointer(f.result(op), start)
    f.leave(op.attrs["then"])


def returns(function_kind: str, type_: object) -> str:
    """The LLVM type that a function of that kind returns."""
    if type_ is VOID:
        return {"program": "i32", "callback": "i64", "global": "i32"}.get(function_kind, "void")
    if isinstance(type_, Int):
        if function_kind == "callback":
            return "i64"
        return "i32" if function_kind == "program" and type_.bits < 32 else f"i{type_.bits}"
    if isinstance(type_, Bool):
        return {"callback": "i64", "program": "i32", "global": "i32"}.get(function_kind, "i1")
    return "ptr"
