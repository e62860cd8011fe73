"""Functions of the program file: compiled into their caller, or as functions of their own."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from osmia.compiler.ir import VOID, Function, Ptr, Space, Value
from osmia.diagnostics import UsageError
from osmia.frontends.python import memory
from osmia.frontends.python.function import Fn, Scope
from osmia.frontends.python.joins import Join
from osmia.frontends.python.slots import AliasSlot, NumSlot, Variable, new_slot
from osmia.frontends.python.strings import is_text
from osmia.frontends.python.values import Const, Context, Items, Mem, Nothing, Num, Operand, Truth
from osmia.lang.structs import describe
from osmia.lang.types import KernelType, TypeObject, layout_of
from osmia.object.layout import BOOL, S64, Bool, Enum, Int, Layout

if TYPE_CHECKING:
    from osmia.lang.hooks import HelperFunction

_MAX_PARAMS = 5


def helper_function(fn: Fn, function: HelperFunction, node: ast.Call) -> Operand:
    """A call of a ``@prog.func`` function."""
    if function.program is not fn.unit.decl:
        raise fn.error("PY140", node, f"{function.name} belongs to program {function.program.name}")
    if function.inline:
        return plain_function(fn, function.function, node)
    return _static_call(fn, function, node)


def function_node(fn: Fn, function: Any, node: ast.AST) -> tuple[Any, ast.FunctionDef]:
    """The source of a function that is to be compiled.

    :raises CompileError: PY185 for functions that are no plain ones.
    """
    try:
        file, found = fn.unit.sources.of(function)
    except Exception as error:
        if getattr(error, "code", "").startswith("PY"):
            error.notes.append(("called here", fn.span(node)))  # type: ignore[attr-defined]
        raise
    if not isinstance(found, ast.FunctionDef):
        what = "a lambda" if isinstance(found, ast.Lambda) else "an async function"
        raise fn.error("PY185", node, f"{what} cannot be called in a kernel function", hint="write a plain def")
    if getattr(found, "type_params", None):
        raise fn.error(
            "PY185", node, f"{found.name} has type parameters", hint="each call is compiled for its own types"
        )
    if function.__code__.co_flags & 0x2A0:  # generator, coroutine, async generator
        raise fn.error("PY185", node, f"{found.name} is a generator or coroutine", hint="return values instead")
    return file, found


def bind(fn: Fn, definition: ast.FunctionDef, function: Any, node: ast.Call) -> dict[str, ast.expr | Const]:
    """The arguments of a call by parameter; defaults are the values that Python computed.

    :raises CompileError: PY182 for arguments that do not fit.
    """
    args = definition.args
    if args.vararg or args.kwarg:
        raise fn.error("PY185", node, f"{definition.name} takes any number of arguments", hint="name its parameters")
    positional = [item.arg for item in (*args.posonlyargs, *args.args)]
    only_named = [item.arg for item in args.kwonlyargs]
    given: dict[str, ast.expr | Const] = {}
    if len(node.args) > len(positional):
        raise fn.error("PY182", node, f"{definition.name}() takes {len(positional)} arguments, not {len(node.args)}")
    for name, item in zip(positional, node.args, strict=False):
        if isinstance(item, ast.Starred):
            raise fn.error("PY182", item, "arguments are passed one by one")
        given[name] = item
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg not in positional + only_named or keyword.arg in given:
            raise fn.error("PY182", keyword.value, f"{definition.name}() has no parameter '{keyword.arg}' left to fill")
        given[keyword.arg] = keyword.value
    defaults = dict(zip(reversed(positional), reversed(function.__defaults__ or ()), strict=False))
    defaults.update(function.__kwdefaults__ or {})
    for name in positional + only_named:
        if name not in given:
            if name not in defaults:
                raise fn.error("PY182", node, f"{definition.name}() needs an argument for '{name}'")
            given[name] = Const(defaults[name])
    return {name: given[name] for name in positional + only_named}


def annotation_of(function: Any, name: str, file: Any) -> Any:
    """A parameter's annotation as an object; ``None`` without one."""
    value = getattr(function, "__annotations__", {}).get(name)
    if not isinstance(value, str):
        return value
    space = dict(function.__globals__)
    for free, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            space[free] = cell.cell_contents
        except ValueError:
            continue
    try:
        value = eval(value, space)  # the program file's own code
        return eval(value, space) if isinstance(value, str) else value
    except NameError:
        return None  # a name that exists for type checkers only
    except Exception as error:  # noqa: BLE001 - whatever the annotation's expression raises
        return _Broken(str(error))


class _Broken:
    """An annotation that cannot be evaluated."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __repr__(self) -> str:
        return f"it cannot be evaluated ({self.why})"


def check_annotation(fn: Fn, function: Any, name: str, operand: Operand | None, node: ast.AST) -> None:
    """Refuses an annotation that is no type, or one of Python's own types that the argument does not have.

    :raises CompileError: PY207.
    """
    value = annotation_of(function, name, None)
    if value is None or isinstance(value, (str, KernelType, TypeObject)):
        return
    typing_form = getattr(type(value), "__module__", "") == "typing" or hasattr(value, "__origin__")
    if not (isinstance(value, (type, tuple)) or typing_form or hasattr(value, "__args__")):
        raise fn.error("PY207", node, f"the annotation of '{name}' is no type: {value!r:.60}")
    if value is float:
        raise fn.error("PY207", node, f"'{name}' is annotated as float, which the kernel does not have")
    wanted = "text" if value is str else "bytes" if value is bytes else None
    if wanted is not None and operand is not None and not is_text(operand):
        raise fn.error("PY207", node, f"'{name}' is annotated as {wanted}, and the argument is {operand.describe()}")


def scalar_annotation(function: Any, name: str, file: Any) -> Int | Bool | None:
    """The number type that an annotation names; ``None`` for all others."""
    value = annotation_of(function, name, file)
    if value is None or isinstance(value, KernelType):
        return None
    try:
        layout = layout_of(value)
    except UsageError:
        return None
    if isinstance(layout, Enum):
        return layout.base
    return layout if isinstance(layout, (Int, Bool)) else None


# -- into the caller ------------------------------------------------------------------------------------------------


def plain_function(fn: Fn, function: Any, node: ast.Call) -> Operand:
    """Compiles a function's body into its caller."""
    file, definition = function_node(fn, function, node)
    scope: Scope | None = fn.scope
    while scope is not None:
        if scope.function.__code__ is function.__code__:
            raise fn.error(
                "PY186", node, f"{definition.name} calls itself", hint="the kernel has no recursion: write a loop"
            )
        scope = scope.outer
    given = bind(fn, definition, function, node)
    operands: dict[str, Operand] = {}
    for name, item in given.items():
        kind = scalar_annotation(function, name, file)
        operand = item if isinstance(item, Const) else fn.expr(item, kind)
        place = node if isinstance(item, Const) else item
        check_annotation(fn, function, name, operand, place)
        operands[name] = _typed(fn, operand, kind, place)
    check_annotation(fn, function, "return", None, node)
    return _body(fn, function, file, definition, operands, node)


def call_with(fn: Fn, function: Any, values: list[Operand], node: ast.AST) -> Operand:
    """Compiles a function's body into its caller, with operands for its parameters."""
    file, definition = function_node(fn, function, node)
    operands = {
        item.arg: _typed(fn, value, scalar_annotation(function, item.arg, file), node)
        for item, value in zip(definition.args.args, values, strict=True)
    }
    return _body(fn, function, file, definition, operands, node)


def _body(
    fn: Fn, function: Any, file: Any, definition: ast.FunctionDef, operands: dict[str, Operand], node: ast.AST
) -> Operand:
    inner = Scope(file, function, definition, fn.scope, fn.span(node))
    outer_scope = fn.scope
    outer_fault = fn.on_fault
    fn.scope = inner
    for name, operand in operands.items():
        _bind_parameter(fn, name, operand, definition, node)
    join = Join(fn, node)
    inner.result = scalar_annotation(function, "return", file)
    inner.on_return = lambda operand, place: join.add(_result(fn, operand, inner.result, place), place)
    try:
        fn.body(definition.body)
        if fn.live:
            join.add(Nothing() if not _returns_value(definition) else Const(None), node)
        result = join.finish()
    finally:
        fn.scope = outer_scope
        fn.on_fault = outer_fault
    if not join.arms:
        fn.live = False
    return result


def _returns_value(definition: ast.FunctionDef) -> bool:
    return any(
        isinstance(item, ast.Return)
        and item.value is not None
        and not (isinstance(item.value, ast.Constant) and item.value.value is None)
        for item in ast.walk(definition)
    )


def _typed(fn: Fn, operand: Operand, kind: Int | Bool | None, node: ast.AST) -> Operand:
    """An argument in the parameter's type, where that is a number."""
    if isinstance(kind, Int):
        return Num(fn.to_int(fn.unwrap(operand, node), kind, node), kind)
    if isinstance(kind, Bool):
        operand = fn.unwrap(operand, node)
        return operand if isinstance(operand, Const) else Truth(memory.to_bool(fn, operand, node))
    return operand


def _result(fn: Fn, operand: Operand | None, kind: Layout | None, node: ast.AST) -> Operand:
    if operand is None:
        return Nothing()
    if isinstance(kind, (Int, Bool)) and not (isinstance(operand, Const) and operand.value is None):
        return _typed(fn, operand, kind, node)
    return operand


def _bind_parameter(fn: Fn, name: str, operand: Operand, definition: ast.FunctionDef, node: ast.AST) -> None:
    """A parameter is a variable; one that is never assigned may stand for a constant or a struct of the caller."""
    from osmia.frontends.python.loops import assigned_names
    from osmia.frontends.python.slots import ConstSlot

    variable = Variable(name, fn.span(definition))
    if name not in assigned_names(definition.body):
        if isinstance(operand, Const) and operand.value is not None:
            variable.slot = ConstSlot(operand.value)
        elif isinstance(operand, (Mem, Items)):
            variable.slot = AliasSlot(operand)
    if variable.slot is None:
        if isinstance(operand, Nothing):
            raise fn.error("PY164", node, "an argument has no value: the call that gives it returns nothing")
        variable.slot = new_slot(fn, name, operand, node)
        if isinstance(variable.slot, NumSlot):
            variable.slot.declared = scalar_annotation(fn.scope.function, name, fn.scope.file) is not None
        variable.slot.store(fn, operand, node)
    fn.scope.variables[name] = variable
    fn.flow.bound.add(variable)


# -- as functions of their own ----------------------------------------------------------------------------------------


def _static_call(fn: Fn, function: HelperFunction, node: ast.Call) -> Operand:
    """A call of a function that stays one (bpf-to-bpf)."""
    file, definition = function_node(fn, function.function, node)
    given = bind(fn, definition, function.function, node)
    if len(given) > _MAX_PARAMS:
        raise fn.error("PY187", node, f"{definition.name} has {len(given)} parameters; a kernel call takes five")
    values: list[Value] = []
    kinds: list[tuple[str, Any]] = []
    for name, item in given.items():
        kind = scalar_annotation(function.function, name, file)
        place = node if isinstance(item, Const) else item
        check_annotation(fn, function.function, name, None, place)
        operand = fn.unwrap(item if isinstance(item, Const) else fn.expr(item, kind), place)
        value, shape = _argument(fn, operand, kind, place, definition.name, name)
        values.append(value)
        kinds.append((name, shape))
    ir = static_function(fn, function, file, definition, kinds, node)
    value = fn.fb.emit("call", *values, type=ir.result, function=ir.name)
    if ir.result is VOID:
        return Nothing()
    return Truth(value) if ir.result == BOOL else fn.num(value)


def _argument(
    fn: Fn, operand: Operand, kind: Int | Bool | None, node: ast.AST, function: str, name: str
) -> tuple[Value, Any]:
    if isinstance(kind, Int):
        return fn.to_int(operand, kind, node), kind
    if isinstance(kind, Bool):
        return memory.to_bool(fn, operand, node), kind
    if isinstance(operand, Context):
        return fn.context_value(), operand
    if isinstance(operand, Mem):
        assert isinstance(operand.ptr.type, Ptr)
        return operand.ptr, operand
    raise fn.error(
        "PY187", node, f"parameter '{name}' of {function} needs a number type as annotation",
        hint=f"def {function}({name}: u64), or leave inline=False out",
    )  # fmt: skip


def static_function(
    fn: Fn,
    function: HelperFunction,
    file: Any,
    definition: ast.FunctionDef,
    kinds: list[tuple[str, Any]],
    node: ast.AST,
) -> Function:
    """The IR function for these kinds of arguments, made once."""
    key = (function, tuple(_key(kind) for _, kind in kinds), fn.program.kind)
    known = fn.unit.statics.get(key)
    if known is not None:
        if known.result is None:
            raise fn.error("PY186", node, f"{definition.name} calls itself", hint="write a loop")
        return known  # type: ignore[no-any-return]
    result: Any = scalar_annotation(function.function, "return", file)
    if result is None:
        if _returns_value(definition):
            raise fn.error(
                "PY187", node, f"the result of {definition.name} needs a number type as annotation",
                hint=f"def {definition.name}(...) -> u64",
            )  # fmt: skip
        result = VOID
    params = [Value(name, _param_type(kind)) for name, kind in kinds]
    name = fn.unit.function_name(definition.name)
    ir = Function(name, params, result, kind="static", span=file.span(definition))
    placeholder = Function(name, [], None)  # type: ignore[arg-type]
    fn.unit.statics[key] = placeholder
    fn.unit.module.functions[name] = ir
    inner = Fn(fn.unit, ir, fn.program, fn.context_type)
    inner.scope = Scope(file, function.function, definition, None, fn.span(node))
    inner.scope.outer = fn.scope
    inner.scope.result = None if result is VOID else result
    inner.on_fault = lambda: _zero_return(inner, result)
    inner.scope.on_return = lambda operand, place: _return(inner, result, operand, place)
    for (parameter, kind), value in zip(kinds, params, strict=True):
        operand = _operand(inner, kind, value)
        variable = Variable(parameter, file.span(definition))
        if isinstance(operand, Mem):
            variable.slot = AliasSlot(operand)
        else:
            variable.slot = new_slot(inner, parameter, operand, definition)
            variable.slot.store(inner, operand, definition)
        inner.scope.variables[parameter] = variable
        inner.flow.bound.add(variable)
    inner.body(definition.body)
    if inner.live:
        if result is not VOID and not inner.flow.dead and not fn.unit.errors:
            raise fn.error("PY188", node, f"{definition.name} does not return a value on every way")
        _zero_return(inner, result)
    inner.close()
    fn.unit.statics[key] = ir
    return ir


def _key(kind: Any) -> Any:
    if isinstance(kind, Mem):
        return (kind.ptr.type, kind.layout, kind.shared, kind.writable)
    return kind if isinstance(kind, (Int, Bool)) else "context"


def _param_type(kind: Any) -> Any:
    if isinstance(kind, Mem):
        return kind.ptr.type
    return kind if isinstance(kind, (Int, Bool)) else Ptr(Space.CTX, None)


def _operand(fn: Fn, kind: Any, value: Value) -> Operand:
    if isinstance(kind, Mem):
        return Mem(
            value, kind.layout, shared=kind.shared, writable=kind.writable, owned=kind.owned,
            root=(value, kind.layout.size, 0),
        )  # fmt: skip
    if isinstance(kind, Context):
        return kind
    return Truth(value) if isinstance(kind, Bool) else fn.num(value)


def _zero_return(fn: Fn, result: Any) -> None:
    if result is VOID:
        fn.fb.emit("ret")
    else:
        fn.fb.emit("ret", fn.const(0, result))
    fn.live = False


def _return(fn: Fn, result: Any, operand: Operand | None, node: ast.AST) -> None:
    if result is VOID:
        if (
            operand is not None
            and not isinstance(operand, Nothing)
            and not (isinstance(operand, Const) and operand.value is None)
        ):
            raise fn.error("PY188", node, "this function returns nothing", hint="annotate its result: -> u64")
        fn.fb.emit("ret")
    elif operand is None:
        raise fn.error("PY188", node, f"a {describe(result)} is to be returned")
    elif isinstance(result, Bool):
        fn.fb.emit("ret", memory.to_bool(fn, fn.unwrap(operand, node), node))
    else:
        fn.fb.emit("ret", fn.to_int(operand, result, node))
    fn.live = False


# -- callbacks --------------------------------------------------------------------------------------------------------


def callback(fn: Fn, function: Any, params: list[tuple[str, Operand | Any]], node: ast.AST) -> str:
    """Compiles a Python function that a helper calls; its parameters are what the helper gives.

    :param params: (name, IR type) for a number, (name, Mem or Context) for what the function gets by reference.
    """
    file, definition = function_node(fn, function, node)
    names = [item.arg for item in definition.args.args]
    if len(names) != len(params) or definition.args.vararg or definition.args.kwonlyargs:
        wanted = ", ".join(name for name, _ in params)
        raise fn.error("PY189", node, f"{definition.name} must take ({wanted}): that is what the helper passes")
    key = ("callback", function, tuple(_key(kind) for _, kind in params), fn.program.kind)
    if key in fn.unit.statics:
        return str(fn.unit.statics[key])
    values = [Value(name, _param_type(kind)) for name, (_, kind) in zip(names, params, strict=True)]
    name = fn.unit.function_name(definition.name)
    ir = Function(name, values, S64, kind="callback", span=file.span(definition))
    fn.unit.module.functions[name] = ir
    fn.unit.statics[key] = name
    inner = Fn(fn.unit, ir, fn.program, fn.context_type)
    inner.scope = Scope(file, function, definition, fn.scope, fn.span(node))
    inner.on_fault = lambda: _one_return(inner)
    inner.scope.on_return = lambda operand, place: _callback_return(inner, operand, place)
    for parameter, (_, kind), value in zip(names, params, values, strict=True):
        operand = _operand(inner, kind, value)
        variable = Variable(parameter, file.span(definition))
        if isinstance(operand, Mem):
            variable.slot = AliasSlot(operand)
        else:
            variable.slot = new_slot(inner, parameter, operand, definition)
            variable.slot.store(inner, operand, definition)
        inner.scope.variables[parameter] = variable
        inner.flow.bound.add(variable)
    inner.body(definition.body)
    if inner.live:
        inner.fb.emit("ret", inner.const(0, S64))
    inner.close()
    return name


def _one_return(fn: Fn) -> None:
    fn.fb.emit("ret", fn.const(1, S64))
    fn.live = False


def _callback_return(fn: Fn, operand: Operand | None, node: ast.AST) -> None:
    none = operand is None or isinstance(operand, Nothing) or (isinstance(operand, Const) and operand.value is None)
    value = fn.const(0, S64) if none or operand is None else fn.to_int(operand, S64, node)
    fn.fb.emit("ret", value)
    fn.live = False
