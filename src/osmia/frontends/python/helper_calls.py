"""Calls of kernel helpers by name, checked against the table of helpers, and of kfuncs, checked against BTF."""

from __future__ import annotations

import ast
import types
from typing import TYPE_CHECKING, Any

from osmia.abi import helpers as table
from osmia.compiler.ir import FUNC_REF, VOID, KType, Ptr, Space, Value
from osmia.diagnostics import CompileError, UsageError
from osmia.frontends.python import maps, memory, strings
from osmia.frontends.python.values import Const, Context, KPlace, KPtr, MaybePtr, Mem, Nothing, Num, Operand, Truth
from osmia.lang import maps as M
from osmia.lang.hooks import HelperFunction, Kfunc
from osmia.object.layout import S64, U32, U64, Bool, Char, Enum, Int, Layout

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn

_GPL = ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")
_INSTEAD = {
    "bpf_tail_call": "write table.tail_call(ctx, i)", "bpf_trace_printk": "write printk(f'...')",
    "bpf_ringbuf_reserve": "write ring.reserve()", "bpf_ringbuf_submit": "write ring.submit(e)",
    "bpf_ringbuf_discard": "write ring.discard(e)", "bpf_for_each_map_elem": "write for k, v in m.items()",
    "bpf_map_lookup_elem": "write m.get(k)", "bpf_map_update_elem": "write m[k] = v",
    "bpf_map_delete_elem": "write del m[k]",
}  # fmt: skip
_REFUSED = {
    "ARG_PTR_TO_TIMER": "timers", "ARG_PTR_TO_SPIN_LOCK": "spin locks", "ARG_PTR_TO_DYNPTR": "dynptrs",
    "ARG_KPTR_XCHG_DEST": "kernel pointers in map values", "ARG_PTR_TO_PERCPU_BTF_ID": "per-CPU kernel variables",
}  # fmt: skip
_SIZES = ("ARG_CONST_SIZE", "ARG_CONST_SIZE_OR_ZERO")
_MEMORY = ("ARG_PTR_TO_MEM", "ARG_PTR_TO_MAP_KEY", "ARG_PTR_TO_MAP_VALUE", "ARG_PTR_TO_STACK")


def row(name: str) -> table.Helper | None:
    """The helper of a name, with or without ``bpf_``."""
    try:
        return table.helper(name.removeprefix("bpf_"))
    except UsageError:
        return None


def check(fn: Fn, name: str) -> table.Helper:
    """Refuses a helper that programs of this kind may not call.

    :raises CompileError: PY193 where the program type does not allow it, PY194 for the licence.
    """
    found = row(name)
    assert found is not None, name
    program = fn.program
    if not found.allowed(program.prog_type, program.attach_type, program.sleepable):
        why = f"a {program.prog_type} program may not call bpf_{found.name}"
        if found.sleeps and not program.sleepable:
            why = f"bpf_{found.name} may sleep, and this program may not"
        kinds = ", ".join(found.prog_types[:8])
        raise CompileError("PY193", why, span=fn.fb.span, hint=f"programs that may: {kinds}")
    if found.gpl_only and fn.unit.decl.license not in _GPL:
        raise CompileError(
            "PY194", f"bpf_{found.name} is for programs under the GPL, and this one is under {fn.unit.decl.license!r}",
            span=fn.fb.span, hint='Program("name", license="GPL")',
        )  # fmt: skip
    return found


def call(fn: Fn, name: str, node: ast.Call) -> Operand:
    """``bpf_...(...)`` by the kernel's name.

    :raises CompileError: PY195 for a helper that does not exist or that the language has another form for.
    """
    from osmia.diagnostics.text import did_you_mean

    found = row(name)
    if found is None or not name.startswith("bpf_"):
        names = [f"bpf_{item.name}" for item in table.helpers()]
        raise fn.error("PY195", node.func, f"the kernel has no helper {name!r}", hint=did_you_mean(name, names))
    if name in _INSTEAD or found.variadic:
        raise fn.error("PY195", node.func, f"{name} has its own form in the language", hint=_INSTEAD.get(name))
    fn.fb.span = fn.span(node)
    check(fn, name)
    signature = found.signature_for(fn.program.prog_type)
    for keyword in node.keywords:
        raise fn.error("PY182", keyword.value, f"{name}() takes no argument by name")
    given = _given(fn, name, signature, node)
    values: list[Value] = []
    target: Operand | None = None
    measured: Operand | None = None
    for position, arg in enumerate(signature.args):
        item = given[position]
        if item is None:
            assert isinstance(measured, Mem)
            values.append(fn.const(measured.layout.size, U64))
            continue
        operand = item if isinstance(item, Operand) else fn.expr(item)
        place = node if isinstance(item, Operand) else item
        if arg.kind == "ARG_CONST_MAP_PTR":
            target = operand
        value, measured = _argument(fn, name, arg, operand, target, given, position, place, measured)
        values.append(value)
    return _result(fn, name, found, signature, values, target, node)


def _given(fn: Fn, name: str, signature: table.Signature, node: ast.Call) -> list[ast.expr | None]:
    """The arguments by position; sizes that follow memory may be left out."""
    items: list[ast.expr] = list(node.args)
    for item in items:
        if isinstance(item, ast.Starred):
            raise fn.error("PY182", item, "arguments are passed one by one")
    rows = signature.args
    if len(items) == len(rows):
        return list(items)
    sizes = [at for at, arg in enumerate(rows) if arg.kind in _SIZES]
    if len(items) == len(rows) - len(sizes):
        rest = iter(items)
        return [None if at in sizes else next(rest) for at in range(len(rows))]
    shown = ", ".join(f"{arg.ctype} {arg.name}".strip() for arg in rows)
    raise fn.error("PY182", node, f"{name}() takes {len(rows)} arguments, not {len(items)}", hint=f"{name}({shown})")


def _argument(
    fn: Fn, name: str, arg: table.Arg, operand: Operand, target: Operand | None, given: list[Any], position: int,
    node: ast.AST, measured: Operand | None,
) -> tuple[Value, Operand | None]:  # fmt: skip
    kind = arg.kind
    if kind in _REFUSED:
        raise fn.error("PY196", node, f"{_REFUSED[kind]} are not supported, so {name} cannot be called")
    if arg.nullable and isinstance(operand, Const) and operand.value in (None, 0):
        return fn.fb.emit("null", type=Ptr(Space.STACK, None, True)), Mem(fn.const(0, U64), Char(0))
    operand = fn.unwrap(operand, node)
    if kind == "ARG_CONST_MAP_PTR":
        if maps.declaration(operand) is None:
            raise _wrong(fn, name, arg, "a map", operand, node)
        return maps.reference(fn, operand, node), None
    if kind == "ARG_PTR_TO_CTX":
        if not isinstance(operand, Context):
            raise _wrong(fn, name, arg, "the hook's context", operand, node)
        return fn.context_value(), None
    if kind == "ARG_PTR_TO_FUNC":
        return _callback(fn, name, operand, target, given, node), None
    if kind in _MEMORY or kind in ("ARG_PTR_TO_CONST_STR", "ARG_PTR_TO_RINGBUF_MEM"):
        made = _memory(fn, name, arg, operand, target, node)
        return made.ptr, made
    if kind in _SIZES or kind in ("ARG_ANYTHING", "ARG_CONST_ALLOC_SIZE_OR_ZERO"):
        room = measured.layout.size if kind in _SIZES and isinstance(measured, Mem) else None
        if room is not None and isinstance(operand, Const) and isinstance(operand.value, int) and operand.value > room:
            raise fn.error("PY105", node, f"{operand.value} bytes are more than the {room} there")
        return _number(fn, operand, node), None
    return _object(fn, name, arg, operand, node), None


def _wrong(fn: Fn, name: str, arg: table.Arg, wanted: str, operand: Operand, node: ast.AST) -> CompileError:
    return fn.error("PY197", node, f"{arg.name} of {name} is {wanted}, not {operand.describe()}")


def _number(fn: Fn, operand: Operand, node: ast.AST) -> Value:
    """A number in a whole register; an address where the helper takes any."""
    from osmia.frontends.python.kernel_fields import address

    if isinstance(operand, (KPtr, KPlace)):
        return address(fn, operand, node)
    number = fn.as_number(operand, node)
    if isinstance(number, Const):
        value = int(number.value)
        low = S64.range()[0]
        if not low <= value <= U64.range()[1]:
            raise fn.error("PY105", node, f"{value} does not fit 64 bits")
        return fn.const(value & U64.range()[1], U64)
    if isinstance(number, Num) and number.type.signed:
        return fn.fb.emit("retype", fn.to_int(number, S64, node), type=U64)
    return fn.to_int(number, U64, node)


def _memory(fn: Fn, name: str, arg: table.Arg, operand: Operand, target: Operand | None, node: ast.AST) -> Mem:
    decl = None if target is None else maps.declaration(target)
    wanted: Layout | None = None
    if decl is not None and arg.kind == "ARG_PTR_TO_MAP_KEY":
        wanted = decl.key_layout
    elif decl is not None and arg.kind == "ARG_PTR_TO_MAP_VALUE":
        wanted = decl.value_layout
    if wanted is not None:
        return Mem(maps.in_memory(fn, operand, wanted, node, "arg"), wanted)
    if strings.is_text(operand) and not isinstance(operand, Mem):
        if "MEM_WRITE" in arg.flags or "MEM_UNINIT" in arg.flags:
            raise fn.error("PY197", node, f"{name} writes to {arg.name}, which a constant does not allow")
        return strings.in_memory(fn, operand, node)
    if isinstance(operand, Const) and getattr(type(operand.value), "__layout__", None) is not None:
        layout = type(operand.value).__layout__
        made = fn.temp(layout, "arg")
        fn.write(made.ptr, layout, operand, node)
        return made
    if not isinstance(operand, Mem):
        raise _wrong(fn, name, arg, "memory (a struct, an array or text)", operand, node)
    if "MEM_WRITE" in arg.flags and not operand.writable:
        raise fn.error("PY197", node, f"{name} writes to {arg.name}, and this is read-only")
    if arg.size and operand.layout.size < arg.size:
        raise fn.error(
            "PY197", node, f"{arg.name} of {name} needs {arg.size} bytes, and this has {operand.layout.size}"
        )
    return operand


def _object(fn: Fn, name: str, arg: table.Arg, operand: Operand, node: ast.AST) -> Value:
    if isinstance(operand, KPtr) and operand.space is Space.BTF:
        return operand.value
    if isinstance(operand, Mem) and operand.space is Space.MEM:
        return operand.ptr
    raise _wrong(fn, name, arg, f"an object the verifier knows ({arg.struct or arg.ctype})", operand, node)


def _callback(fn: Fn, name: str, operand: Operand, target: Operand | None, given: list[Any], node: ast.AST) -> Value:
    from osmia.frontends.python import inline

    function = operand.value if isinstance(operand, Const) else None
    if isinstance(function, HelperFunction):
        function = function.function
    if not isinstance(function, types.FunctionType):
        raise fn.error("PY189", node, f"a function of the program file is needed here, not {operand.describe()}")
    if name != "bpf_loop":
        raise fn.error("PY196", node, f"callbacks of {name} are not supported", hint="bpf_loop and loops over maps are")
    state = fn.expr(given[2]) if given[2] is not None else Const(None)
    params: list[tuple[str, Any]] = [("index: u32", U32)]
    if isinstance(state, Mem):
        params.append(("state", state))
    else:
        params.append(("state", U64))
    made = inline.callback(fn, function, params, node)
    return fn.fb.emit("func.addr", type=FUNC_REF, function=made)


_RESULTS = {"u64": U64, "u32": U32, "int": Int(32, True), "long": S64, "s64": S64}


def _result(
    fn: Fn, name: str, found: table.Helper, signature: table.Signature, values: list[Value], target: Operand | None,
    node: ast.AST,
) -> Operand:  # fmt: skip
    kind = signature.returns
    if kind == "RET_VOID":
        fn.fb.emit("helper", *values, type=VOID, name=name)
        return Nothing()
    if kind == "RET_INTEGER":
        wanted = _RESULTS.get(found.return_ctype.replace("__", ""), S64)
        wide = S64 if wanted.signed else U64
        value = fn.fb.emit("helper", *values, type=wide, name=name)
        return Num(value if wanted.bits == 64 else fn.fb.emit("trunc", value, type=wanted), wanted)
    if kind == "RET_PTR_TO_MAP_VALUE":
        decl = None if target is None else maps.declaration(target)
        if decl is None or decl.value_layout is None:
            raise fn.error("PY196", node, f"the result of {name} has no known type")
        layout = decl.value_layout
        pointer = fn.fb.emit("helper", *values, type=Ptr(Space.MAP, layout, True), name=name)
        shared = not decl.PER_CPU
        return MaybePtr(pointer, lambda tested: memory.read(fn, tested, layout, shared, True, (tested, layout.size, 0)))
    if kind in ("RET_PTR_TO_SOCKET", "RET_PTR_TO_SOCK_COMMON"):
        from osmia.frontends.python.contexts import socket_layout

        layout = socket_layout()
        pointer = fn.fb.emit("helper", *values, type=Ptr(Space.MEM, layout, True), name=name)
        return MaybePtr(pointer, lambda tested: Mem(tested, layout, writable=False))
    if kind == "RET_PTR_TO_BTF_ID":
        struct = KType(signature.return_struct)
        nullable = signature.may_return_null
        pointer = fn.fb.emit("helper", *values, type=Ptr(Space.BTF, struct, nullable), name=name)
        return MaybePtr(pointer, lambda tested: KPtr(tested, struct)) if nullable else KPtr(pointer, struct)
    raise fn.error("PY196", node, f"the result of {name} is of a kind that is not supported ({kind})")


# -- kfuncs -----------------------------------------------------------------------------------------------------------


def kfunc(fn: Fn, function: Kfunc, node: ast.Call) -> Operand:
    """A call of a declared kernel function."""
    prototype = fn.unit.kernel(fn, node).function(function.name)
    if prototype is None:
        near = fn.unit.kernel(fn, node).functions_near(function.name)
        hint = f"near it: {', '.join(near)}" if near else None
        if function.weak:
            hint = f"guard the call: if exists({function.name}): ..."
        raise fn.error("PY198", node, f"the kernel has no function {function.name!r}", hint=hint)
    params, result = prototype
    from osmia.frontends.python.calls import arguments

    items = arguments(fn, node, function.name, len(params), len(params))
    values = [
        _kfunc_argument(fn, function.name, name, kind, fn.expr(item), item)
        for (name, kind), item in zip(params, items, strict=True)
    ]
    rest = {"name": function.name, "weak": function.weak}
    if result is None:
        fn.fb.emit("kfunc", *values, type=VOID, **rest)
        return Nothing()
    if isinstance(result, Ptr):
        if not isinstance(result.to, KType):
            raise fn.error("PY196", node, f"the result of {function.name} is of a kind that is not supported")
        to = result.to
        pointer = fn.fb.emit("kfunc", *values, type=Ptr(Space.BTF, to, True), **rest)
        return MaybePtr(pointer, lambda tested: KPtr(tested, to))
    scalar = memory.scalar_type(result) if isinstance(result, Layout) else None
    if scalar is None:
        raise fn.error("PY196", node, f"the result of {function.name} is of a kind that is not supported")
    value = fn.fb.emit("kfunc", *values, type=scalar, **rest)
    return Truth(value) if isinstance(scalar, Bool) else fn.num(value)


def _kfunc_argument(fn: Fn, function: str, name: str, kind: Any, operand: Operand, node: ast.AST) -> Value:
    if isinstance(kind, Ptr):
        if isinstance(operand, Const) and operand.value is None:
            return fn.fb.emit("null", type=Ptr(Space.BTF, kind.to, True))
        operand = fn.unwrap(operand, node)
        if isinstance(operand, KPtr) and operand.space is Space.BTF:
            if isinstance(kind.to, KType) and isinstance(operand.to, KType) and kind.to.name != operand.to.name:
                raise fn.error("PY197", node, f"'{name}' of {function} is a {kind.to}, not {operand.describe()}")
            return operand.value
        if isinstance(operand, Context):
            return fn.context_value()
        if isinstance(operand, Mem):
            return operand.ptr
        if isinstance(operand, Const) and isinstance(operand.value, M.MapDecl):
            return maps.reference(fn, operand, node)
        raise fn.error("PY197", node, f"'{name}' of {function} is a pointer, not {operand.describe()}")
    scalar = memory.scalar_type(kind) if isinstance(kind, (Int, Bool, Enum)) else None
    if scalar is None:
        raise fn.error("PY196", node, f"'{name}' of {function} has a type that is not supported")
    operand = fn.unwrap(operand, node)
    if isinstance(scalar, Bool):
        return memory.to_bool(fn, operand, node)
    return fn.to_int(operand, scalar, node)
