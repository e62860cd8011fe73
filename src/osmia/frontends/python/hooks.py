"""Kernel functions: one program per hook (or per group of targets that one program can serve), with its parameters
bound."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from osmia.abi import prog_types, registers
from osmia.compiler.ir import Function, Ptr, Space, Value
from osmia.diagnostics import CompileError, OsmiaError, Span, UsageError
from osmia.frontends.python import contexts, filter
from osmia.frontends.python.function import Fn, Poisoned, Scope
from osmia.frontends.python.inline import annotation_of, check_annotation, scalar_annotation
from osmia.frontends.python.slots import AliasSlot, Variable, new_slot
from osmia.frontends.python.tracepoints import TracepointKind
from osmia.frontends.python.values import Const, Context, KPtr, Mem, Nothing, Num, Operand, Truth, ktype_text
from osmia.lang import contexts as C
from osmia.lang.hooks import CGROUP_HOOKS, HOOKS, KernelFunction
from osmia.lang.maps import MapDecl
from osmia.lang.types import KernelType
from osmia.object.layout import S32, U64, Bool, Int
from osmia.object.spec import Hook

if TYPE_CHECKING:
    from osmia.frontends.python.unit import Unit

_WILD = "*?["


class Program:
    """What a kernel function is to the kernel.

    :ivar kind: the hook's name. :ivar hook: the hook of this program. :ivar prog_type: program type's name.
    :ivar attach_type: expected attach type's name, ``""`` for none. :ivar section: ELF section.
    :ivar default: the neutral verdict. :ivar returns: whether the function gives a verdict.
    :ivar argument: how the context is read.
    """

    def __init__(
        self, declared: KernelFunction, hook: Hook, prog_type: str, section: str, default: int, returns: bool,
        argument: contexts.Kind,
    ) -> None:  # fmt: skip
        self.declared = declared
        self.kind = hook.kind
        self.hook = hook
        self.prog_type = prog_type
        self.section = section
        self.attach_type = attach_type_of(prog_type, section)
        self.default = default
        self.returns = returns
        self.argument = argument
        self.sleepable = declared.sleepable
        self.filtered = declared.filtered


def attach_type_of(prog_type: str, section: str) -> str:
    """The attach type that libbpf's section names stand for."""
    try:
        rows = prog_types.prog_type(prog_type).sections
    except UsageError:
        return ""
    best = ("", "")
    for name, attach, _, _ in rows:
        if (section == name or section.startswith(f"{name}/")) and len(name) > len(best[0]):
            best = (name, attach)
    return best[1]


def targets_of(hook: Hook) -> tuple[str, ...]:
    """The targets that the decorator named."""
    return tuple(hook.options.get("targets") or (hook.target,))


def compile_function(unit: Unit, declared: KernelFunction) -> None:
    """Compiles a kernel function to one or more programs of the module."""
    file, definition = unit.sources.of(declared.function)
    span = file.span(definition)
    if not isinstance(definition, ast.FunctionDef):
        what = "a lambda" if isinstance(definition, ast.Lambda) else "an async function"
        raise CompileError("PY185", f"{what} cannot be a kernel function", span=span, hint="write a plain def")
    _check_definition(file, definition, declared)
    groups = _groups(unit, declared, file, definition)
    for number, (hook, argument) in enumerate(groups):
        name = declared.name if not number else unit.function_name(f"{declared.name}_{number + 1}")
        errors = len(unit.errors)
        program = make_program(declared, hook, argument)
        _compile(unit, program, name, file, definition)
        if len(unit.errors) > errors:
            return


def _check_definition(file: Any, definition: ast.FunctionDef, declared: KernelFunction) -> None:
    name = definition.name
    if declared.function.__code__.co_flags & 0x2A0:
        raise CompileError(
            "PY185", f"{name} is a generator or coroutine", span=file.span(definition),
            hint="send events with ring.submit(Event(...))",
        )  # fmt: skip
    args = definition.args
    odd = args.vararg or args.kwarg or (args.kwonlyargs[0] if args.kwonlyargs else None)
    if odd is not None:
        raise CompileError(
            "PY201", f"a kernel function has plain parameters only, not '{odd.arg}'", span=file.span(odd)
        )
    if getattr(definition, "type_params", None):
        raise CompileError("PY201", "a kernel function has no type parameters", span=file.span(definition))
    if args.defaults:
        raise CompileError(
            "PY201", "a kernel function's parameters have no defaults: the hook gives them",
            span=file.span(args.defaults[0]),
        )  # fmt: skip
    if len(definition.decorator_list) > 1:
        raise CompileError(
            "PY201", "a kernel function has one decorator, its hook's", span=file.span(definition.decorator_list[-1]),
            hint="other decorators would change the function in a way the kernel cannot",
        )  # fmt: skip


def _groups(
    unit: Unit, declared: KernelFunction, file: Any, definition: ast.FunctionDef
) -> list[tuple[Hook, contexts.Kind]]:
    """The programs that a function's targets need: those with equal arguments share one."""
    hook = declared.hook
    targets = targets_of(hook)
    uses_argument = bool(definition.args.args or definition.args.posonlyargs)
    if not uses_argument or len(targets) == 1 or hook.kind not in ("tracepoint", "raw_tracepoint", "btf_tracepoint"):
        if len(targets) > 1 and HOOKS[hook.kind].prog_type == "tracing":
            return [(_single(hook, (target,)), _argument(unit, declared, hook.kind, target)) for target in targets]
        return [(hook, _argument(unit, declared, hook.kind, targets[0]))]
    found: dict[Any, tuple[list[str], contexts.Kind]] = {}
    for target in targets:
        argument = _argument(unit, declared, hook.kind, target)
        if isinstance(argument, TracepointKind):
            key: Any = argument.signature()
        elif hook.kind == "raw_tracepoint" and isinstance(argument, contexts.RawKind):
            key = tuple(str(kind) for _, kind in argument.args)
        else:
            key = target  # the load names the tracepoint
        found.setdefault(key, ([], argument))[0].append(target)
    return [(_single(hook, tuple(names)), argument) for names, argument in found.values()]


def _single(hook: Hook, targets: tuple[str, ...]) -> Hook:
    options = {key: value for key, value in hook.options.items() if key != "targets"}
    if len(targets) > 1:
        options["targets"] = targets
    if len(targets_of(hook)) > len(targets):
        options["one_of"] = targets_of(hook)
    return Hook(hook.kind, targets[0], options)


def _argument(unit: Unit, declared: KernelFunction, kind: str, target: str) -> contexts.Kind:
    """How the program's argument is read."""
    row = HOOKS[kind]
    if row.context == "tracepoint":
        category, _, event = target.partition(":")
        return TracepointKind(category, event, unit.target.machine, unit.target.formats)
    if row.context in ("raw_args", "btf_args"):
        return _raw_argument(unit, declared, kind, target)
    if row.context == "regs":
        returning = kind in ("kretprobe", "uretprobe")
        return contexts.RegsKind(registers.machine(unit.target.machine), returning, kind.startswith("u"))
    if row.context == "usdt":
        return contexts.UsdtKind()
    if row.context == "perf_event":
        return contexts.PerfKind(registers.machine(unit.target.machine))
    if row.context == "iter":
        return contexts.IterKind(target, declared.hook.options.get("map"))
    if row.context == "none":
        return contexts.NoKind()
    name = row.context
    prog_type, section = row.prog_type, row.section
    if row.context == "cgroup":
        prog_type, section, name, _ = CGROUP_HOOKS[target]
    struct = getattr(C, name).STRUCT
    section = section.format(target=target)
    return contexts.StructKind(struct, prog_type, attach_type_of(prog_type, section), f"the context ({struct})")


def _raw_argument(unit: Unit, declared: KernelFunction, kind: str, target: str) -> contexts.Kind:
    text = f"tracepoint {target}" if "tracepoint" in kind else f"function {target}"
    direct = kind != "raw_tracepoint"
    types = unit.types
    if types is None or any(char in target for char in _WILD):
        return contexts.RawKind([], direct, text)
    if "tracepoint" in kind:
        found = types.tracepoint(target)
        if found is None:
            near = types.tracepoints_near(target)
            raise CompileError(
                "PY204", f"the kernel has no raw tracepoint {target!r}", span=_decorator_span(unit, declared),
                hint=f"near it: {', '.join(near)}" if near else None,
            )  # fmt: skip
        return contexts.RawKind(found, direct, text)
    name = f"bpf_lsm_{target}" if kind == "lsm" else target
    prototype = types.function(name)
    if prototype is None:
        near = [item.removeprefix("bpf_lsm_") for item in types.functions_near(name)]
        raise CompileError(
            "PY204", f"the kernel has no {'security hook' if kind == 'lsm' else 'function'} {target!r}",
            span=_decorator_span(unit, declared), hint=f"near it: {', '.join(near)}" if near else None,
        )  # fmt: skip
    params, result = prototype
    if kind in ("fexit", "fmod_ret", "lsm") and result is not None:
        params = [*params, ("ret", result)]
    return contexts.RawKind(params, direct, text)


def _decorator_span(unit: Unit, declared: KernelFunction) -> Span:
    file, definition = unit.sources.of(declared.function)
    decorators = getattr(definition, "decorator_list", [])
    return file.span(decorators[0] if decorators else definition)


def make_program(declared: KernelFunction, hook: Hook, argument: contexts.Kind) -> Program:
    """Section and program type of a hook."""
    row = HOOKS[hook.kind]
    prog_type, section, default = row.prog_type, row.section, row.default
    if hook.kind == "cgroup":
        prog_type, section, _, default = CGROUP_HOOKS[hook.target]
    wild = any(char in hook.target for char in _WILD) or len(targets_of(hook)) > 1
    if "{" in section:
        base, _, rest = section.partition("/")
        category, _, event = hook.target.partition(":")
        plain = wild and hook.kind in ("tracepoint", "raw_tracepoint", "kprobe", "kretprobe")
        section = base if plain else f"{base}/{rest.format(target=hook.target, category=category, event=event)}"
    if declared.sleepable and hook.kind not in ("syscall",):
        base, slash, rest = section.partition("/")
        section = f"{base}.s{slash}{rest}"
    if hook.kind == "xdp" and hook.options.get("frags"):
        section = "xdp.frags"
    options = {key: value.name if isinstance(value, MapDecl) else value for key, value in hook.options.items()}
    if declared.when:
        options["when"] = declared.when
    made = Hook(hook.kind, hook.target, options)
    return Program(declared, made, prog_type, section, default, row.returns, argument)


# -- the body --------------------------------------------------------------------------------------


def _compile(unit: Unit, program: Program, name: str, file: Any, definition: ast.FunctionDef) -> None:
    context_type = Ptr(Space.CTX, None)
    params = [Value("ctx", context_type)]
    ir = Function(
        name, params, S32, kind="program", section=program.section, hook=program.hook, sleepable=program.sleepable,
        span=file.span(definition),
    )  # fmt: skip
    unit.module.functions[name] = ir
    fn = Fn(unit, ir, program, context_type)
    fn.scope = Scope(file, program.declared.function, definition, None, None)
    fn.on_fault = lambda: _leave(fn, program.default)
    fn.scope.on_return = lambda operand, node: _return(fn, program, operand, node)
    fn.fb.span = file.span(definition)
    errors = len(unit.errors)
    try:
        decorator = definition.decorator_list[0] if definition.decorator_list else definition
        if isinstance(program.argument, TracepointKind) and not any(c in program.hook.target for c in _WILD):
            program.argument.check(fn, decorator)
        check_annotation(fn, program.declared.function, "return", None, definition.returns or definition)
        if program.filtered:
            filter.prologue(fn, definition)
        _bind_parameters(fn, program, file, definition)
        fn.body(definition.body)
        if fn.live:
            if program.returns and not fn.flow.dead and len(unit.errors) == errors:
                raise fn.error(
                    "PY188", definition, f"{definition.name} does not return a verdict on every way",
                    hint=_verdict_hint(program),
                )  # fmt: skip
            _leave(fn, program.default)
    except Poisoned:
        return
    except OsmiaError as error:
        unit.errors.append(error)
        return
    if not unit.errors:
        fn.close()


def _verdict_hint(program: Program) -> str:
    return {
        "xdp": "return XDP_PASS (from osmia.lang.net)", "tc": "return TC_ACT_OK (from osmia.lang.net)",
        "cgroup": "return 1 to allow, 0 to refuse", "lsm": "return 0 to allow", "sk_lookup": "return SK_PASS",
        "sk_skb": "return SK_PASS", "sk_msg": "return SK_PASS", "socket_filter": "return the number of bytes to keep",
    }.get(program.kind, "return 0")  # fmt: skip


def _leave(fn: Fn, verdict: int) -> None:
    fn.fb.emit("ret", fn.const(verdict, S32))
    fn.live = False


def _return(fn: Fn, program: Program, operand: Operand | None, node: ast.AST) -> None:
    none = operand is None or isinstance(operand, Nothing) or (isinstance(operand, Const) and operand.value is None)
    if not program.returns:
        if not none:
            raise fn.error(
                "PY188", node, f"a {program.kind} function returns nothing", hint="send data with a ring or a map"
            )
        _leave(fn, program.default)
        return
    if none or operand is None:
        raise fn.error("PY188", node, "a verdict is to be returned", hint=_verdict_hint(program))
    number = fn.as_number(fn.unwrap(operand, node), node)
    if isinstance(number, Const):
        _check_verdict(fn, program, int(number.value), node)
        _leave(fn, int(number.value))
        return
    fn.fb.emit("ret", fn.to_int(number, S32, node))
    fn.live = False


def _check_verdict(fn: Fn, program: Program, value: int, node: ast.AST) -> None:
    bounds = prog_types.prog_type(program.prog_type).returns
    if bounds is not None and not bounds[0] <= value <= bounds[1]:
        raise fn.error(
            "PY188", node, f"{value} is no verdict of a {program.kind} program ({bounds[0]} to {bounds[1]})",
            hint=_verdict_hint(program),
        )  # fmt: skip


def _bind_parameters(fn: Fn, program: Program, file: Any, definition: ast.FunctionDef) -> None:
    """Gives every parameter what the hook has for it."""
    items = [*definition.args.posonlyargs, *definition.args.args]
    if items and isinstance(program.argument, contexts.NoKind):
        raise fn.error("PY202", items[0], f"a {program.kind} function has no parameters")
    whole = len(items) == 1 and _takes_context(program, file, items[0])
    for index, item in enumerate(items):
        operand: Operand | None = None
        if not whole:
            operand = program.argument.parameter(fn, index, item.arg, item)
        if operand is None:
            if index:
                raise fn.error("PY202", item, f"a {program.kind} function has one parameter, its context")
            operand = Context(program.argument)
        operand = _annotated(fn, program, operand, item, file)
        variable = Variable(item.arg, file.span(item))
        if isinstance(operand, Mem):
            variable.slot = AliasSlot(operand)
        else:
            variable.slot = new_slot(fn, item.arg, operand, item)
            variable.slot.store(fn, operand, item)
        fn.scope.variables[item.arg] = variable
        fn.flow.bound.add(variable)


def _takes_context(program: Program, file: Any, item: ast.arg) -> bool:
    """Whether a single parameter is the whole context, by its annotation."""
    annotation = annotation_of(program.declared.function, item.arg, file)
    return isinstance(annotation, type) and issubclass(annotation, C.Context)


_CONTEXTS = {
    contexts.RegsKind: ("PtRegs",), contexts.PerfKind: ("PerfContext", "PtRegs"), contexts.UsdtKind: ("UsdtArgs",),
    contexts.RawKind: ("RawArgs",), contexts.IterKind: ("IterContext",), TracepointKind: ("TracepointArgs",),
}  # fmt: skip


def _annotated(fn: Fn, program: Program, operand: Operand, item: ast.arg, file: Any) -> Operand:
    """Checks a parameter's annotation against what the hook gives; a number takes the annotated type."""
    function = program.declared.function
    annotation = annotation_of(function, item.arg, file)
    check_annotation(fn, function, item.arg, None, item.annotation or item)
    if isinstance(operand, Context):
        if isinstance(annotation, type) and issubclass(annotation, C.Context):
            names = _CONTEXTS.get(type(operand.kind), ())
            if isinstance(operand.kind, contexts.StructKind):
                right = operand.kind.row.name == annotation.STRUCT
            else:
                right = annotation.__name__ in names
            if not right:
                raise fn.error(
                    "PY202", item.annotation or item, f"the argument of this hook is no {annotation.__name__}",
                    hint=f"it is {', '.join(names) or _context_name(operand.kind)}",
                )  # fmt: skip
        elif annotation is not None and scalar_annotation(function, item.arg, file) is not None:
            raise fn.error(
                "PY202", item.annotation or item, f"the argument of this hook is {operand.kind.text}, no number"
            )
        return operand
    kind = scalar_annotation(function, item.arg, file)
    if isinstance(operand, Num) and isinstance(kind, Int):
        return Num(fn.to_int(operand, kind, item), kind)
    if isinstance(operand, Num) and isinstance(kind, Bool):
        return Truth(fn.compare("ne", operand.value, fn.const(0, operand.type)))
    if isinstance(operand, KPtr) and kind == U64:
        return Num(fn.fb.emit("ptr.to.int", operand.value, type=U64), U64)
    if isinstance(operand, KPtr) and isinstance(kind, Int):
        raise fn.error(
            "PY202", item.annotation or item, f"'{item.arg}' is a pointer to {ktype_text(operand.to)}, no number",
            hint="annotate it with u64 for its address, or with the kernel type",
        )  # fmt: skip
    if isinstance(annotation, KernelType):
        return _typed_pointer(fn, operand, annotation, item)
    return operand


def _context_name(kind: Any) -> str:
    struct = getattr(getattr(kind, "row", None), "name", "")
    found = [
        name for name, value in vars(C).items() if isinstance(value, type) and getattr(value, "STRUCT", "") == struct
    ]
    return found[0] if found and struct else "another type"


def _typed_pointer(fn: Fn, operand: Operand, annotation: KernelType, item: ast.arg) -> Operand:
    if isinstance(operand, KPtr):
        given = getattr(operand.to, "name", None)
        if given is not None and given != annotation.name:
            raise fn.error(
                "PY202", item.annotation or item, f"parameter '{item.arg}' is a {given}, no {annotation.name}",
                hint="parameters are taken in the kernel's order",
            )  # fmt: skip
        return operand
    if isinstance(operand, Num):
        from osmia.frontends.python.kernel_fields import ktype_of, typed_pointer

        return typed_pointer(fn, operand, ktype_of(fn, annotation.name, item.annotation or item), item)
    raise fn.error("PY202", item.annotation or item, f"parameter '{item.arg}' is {operand.describe()}")
