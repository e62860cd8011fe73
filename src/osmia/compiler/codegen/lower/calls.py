"""Maps, ring buffers, helpers, functions, kernel functions, tail calls and messages."""

from __future__ import annotations

from osmia.compiler.codegen.lower.control import returns
from osmia.compiler.codegen.lower.registry import lowers
from osmia.compiler.ir import VOID, Ptr
from osmia.object.layout import Bool, Int, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.codegen.function import FunctionLowering
    from osmia.compiler.ir import Op, Value

_KEY = "ptr nocapture readonly"


@lowers("map_ref")
def _lower_map_ref(f: FunctionLowering, op: Op) -> None:
    f.define(f.result(op), f.module.map_symbol(op.attrs["map"]))


@lowers("map_lookup")
def _lower_map_lookup(f: FunctionLowering, op: Op) -> None:
    table, key = f.module.map_symbol(op.attrs["map"]), f.operand(op.args[0])
    found = f.call_helper("map_lookup_elem", "ptr", [f"ptr {table}", f"{_KEY} {key}"])
    f.define_pointer(f.result(op), found)


@lowers("map_update")
def _lower_map_update(f: FunctionLowering, op: Op) -> None:
    table = f.module.map_symbol(op.attrs["map"])
    key, value = f.operand(op.args[0]), f.operand(op.args[1])
    flags = op.attrs.get("flags") or 0
    arguments = [f"ptr {table}", f"{_KEY} {key}", f"{_KEY} {value}", f"i64 {flags}"]
    f.define(f.result(op), f.call_helper("map_update_elem", "i64", arguments))


@lowers("map_delete")
def _lower_map_delete(f: FunctionLowering, op: Op) -> None:
    table, key = f.module.map_symbol(op.attrs["map"]), f.operand(op.args[0])
    f.define(f.result(op), f.call_helper("map_delete_elem", "i64", [f"ptr {table}", f"{_KEY} {key}"]))


@lowers("ring_reserve")
def _lower_ring_reserve(f: FunctionLowering, op: Op) -> None:
    result = f.result(op)
    assert isinstance(result.type, Ptr)
    to = result.type.to
    size = to.size if isinstance(to, Layout) else result.type.bound
    table = f.module.map_symbol(op.attrs["map"])
    f.define_pointer(result, f.call_helper("ringbuf_reserve", "ptr", [f"ptr {table}", f"i64 {size}", "i64 0"]))


@lowers("ring_end")
def _lower_ring_end(f: FunctionLowering, op: Op) -> None:
    name = "ringbuf_submit" if op.name == "ring.submit" else "ringbuf_discard"
    f.call_helper(name, "void", [f"ptr {f.operand(op.args[0])}", f"i64 {op.attrs.get('flags') or 0}"])


def _word(f: FunctionLowering, value: Value) -> str:
    """An argument of the kernel's calling convention: a pointer or 64 bits."""
    if isinstance(value.type, (Int, Bool)):
        return f"i64 {f.extend(f.operand(value), value.type, 'i64')}"
    return f"ptr {f.operand(value)}"


@lowers("helper")
def _lower_helper(f: FunctionLowering, op: Op) -> None:
    arguments = [_word(f, value) for value in op.args]
    result = op.result
    if result is None:
        f.call_helper(op.attrs["name"], "i64", arguments)
    elif isinstance(result.type, (Int, Bool)):
        got = f.call_helper(op.attrs["name"], "i64", arguments)
        f.define(result, f.narrow(got, result.type))
    else:
        f.define_pointer(result, f.call_helper(op.attrs["name"], "ptr", arguments))


@lowers("call")
def _lower_call(f: FunctionLowering, op: Op) -> None:
    callee = f.module.functions[op.attrs["function"]]
    arguments = []
    for value, (type_, note, parameter) in zip(op.args, f.module.parameters(callee), strict=True):
        operand = f.operand(value)
        if isinstance(parameter.type, (Int, Bool)):
            operand = f.extend(operand, parameter.type, type_)
        arguments.append(f"{type_}{note} {operand}")
    type_ = returns(callee.kind, callee.result)
    text = f"call {f.module.return_note(callee)}{type_} {f.module.function_symbol(callee.name)}({', '.join(arguments)})"
    if op.result is None or callee.result is VOID:
        f.emit(text) if type_ == "void" else f.assign(text)
        return
    got = f.assign(text)
    if isinstance(callee.result, (Int, Bool)) and type_ != f.type_of(op.result):
        got = f.narrow(got, callee.result, type_)
    f.define_pointer(op.result, got)


@lowers("func_addr")
def _lower_func_addr(f: FunctionLowering, op: Op) -> None:
    f.define(f.result(op), f.module.function_symbol(op.attrs["function"]))


@lowers("kfunc")
def _lower_kfunc(f: FunctionLowering, op: Op) -> None:
    name = f.module.kernel_function(op)
    arguments = ", ".join(f"{f.type_of(value)}{f.sign_note(value.type)} {f.operand(value)}" for value in op.args)
    if op.result is None:
        f.emit(f"call void {name}({arguments})")
    else:
        f.define_pointer(op.result, f.assign(f"call {f.type_of(op.result)} {name}({arguments})"))


@lowers("kfunc_exists")
def _lower_kfunc_exists(f: FunctionLowering, op: Op) -> None:
    name = f.module.kernel_function(op)
    f.define(f.result(op), f.assign(f"icmp ne ptr {name}, null"))


@lowers("tail_call")
def _lower_tail_call(f: FunctionLowering, op: Op) -> None:
    index = op.args[0]
    assert isinstance(index.type, Int)
    number = f.extend(f.operand(index), index.type, "i64")
    context = f.operand(f.context(op, 1))
    table = f.module.map_symbol(op.attrs["map"])
    f.call_helper("tail_call", "i64", [f"ptr {context}", f"ptr {table}", f"i64 {number}"])


@lowers("printk")
def _lower_printk(f: FunctionLowering, op: Op) -> None:
    text: str = op.attrs["format"]
    size = len(text.encode("utf-8", "surrogateescape")) + 1
    format_ = f.module.constant(text)
    if len(op.args) <= 3:
        arguments = [f"ptr {format_}", f"i64 {size}", *(_word(f, value) for value in op.args)]
        f.call_helper("trace_printk", "i64", arguments)
        return
    array = f.array(8 * len(op.args))
    for index, value in enumerate(op.args):
        place = f.assign(f"getelementptr i8, ptr {array}, i64 {8 * index}")
        f.emit(f"store {_word(f, value)}, ptr {place}, align 8")
    f.call_helper("trace_vprintk", "i64", [f"ptr {format_}", f"i64 {size}", f"ptr {array}", f"i64 {8 * len(op.args)}"])
