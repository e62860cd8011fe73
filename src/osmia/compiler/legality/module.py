"""Rules about a module as a whole: names, maps, globals, functions and who calls whom."""

from __future__ import annotations

import re

from osmia.compiler.ir import FUNC_REF, MAP_REF, VOID, Ptr
from osmia.compiler.legality.context import Context
from osmia.compiler.legality.shape import check_function
from osmia.object.layout import Bool, Int, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.codegen.target import Target
    from osmia.compiler.ir import Function, Module
    from osmia.diagnostics import CompileError, Span

KINDS = ("program", "inline", "static", "global", "callback")
SECTIONS = (".rodata", ".data", ".bss")
MAX_ARGS = 5
_NAME = re.compile(r"[A-Za-z_.$][A-Za-z0-9_.$]*\Z")
_RESERVED = ("_license",)


def module_problems(module: Module, target: Target) -> list[CompileError]:
    """All problems of a module."""
    context = Context(module, target)
    _names(context)
    _maps(context)
    _globals(context)
    before = len(context.found)
    for function in module.functions.values():
        _signature(context, function)
    if len(context.found) == before:
        _recursion(context)
    for function in module.functions.values():
        check_function(context, function)
    return context.found


def _names(context: Context) -> None:
    module = context.module
    taken: dict[str, str] = dict.fromkeys(_RESERVED, "license")
    tables = (("map", module.maps), ("global", module.globals), ("function", module.functions))
    for what, table in tables:
        for key, item in table.items():
            span = getattr(item, "span", None)
            name = item.name
            if key != name:
                context.refuse("IR016", f"{what} {name!r} is filed under {key!r}", span)
            if not _NAME.match(name) or name.startswith(("llvm.", ".text.")):
                context.refuse(
                    "IR016", f"{name!r} cannot be the name of a {what}", span,
                    "names are letters, digits, underscores, dots and dollar signs",
                )  # fmt: skip
            if name in taken:
                context.refuse(
                    "IR016", f"{what} {name!r} has the name of a {taken[name]}", span,
                    "maps, globals and functions share one space of names in an object file",
                )  # fmt: skip
            taken[name] = what


def _maps(context: Context) -> None:
    from osmia.abi.map_types import TABLE

    for spec in context.module.maps.values():
        row = TABLE.find(spec.kind)
        if row is None:
            context.refuse("IR020", f"map {spec.name!r} has the unknown type {spec.kind!r}")
        elif row.inner and spec.inner is not None and TABLE.find(spec.inner.kind) is None:
            context.refuse("IR020", f"inner maps of {spec.name!r} have the unknown type {spec.inner.kind!r}")
        elif not 0 <= spec.max_entries < 1 << 32:
            context.refuse("IR020", f"map {spec.name!r} has {spec.max_entries} entries")
        elif not 0 <= spec.extra < 1 << 32:
            context.refuse("IR020", f"map {spec.name!r}: map_extra {spec.extra} does not fit 32 bits")
        if spec.kind == "prog_array":
            for _, value in spec.contents:
                function = context.module.functions.get(value) if isinstance(value, str) else None
                if isinstance(value, str) and (function is None or function.kind != "program"):
                    context.refuse("IR007", f"map {spec.name!r} names {value!r}, which is no program")
        elif row is not None and row.inner:
            for _, value in spec.contents:
                if isinstance(value, str) and value not in context.module.maps:
                    context.refuse("IR007", f"map {spec.name!r} names {value!r}, which is no map")


def _globals(context: Context) -> None:
    for item in context.module.globals.values():
        section = item.section
        if not any(section == known or section.startswith(f"{known}.") for known in SECTIONS):
            context.refuse(
                "IR003", f"global {item.name!r} is in section {section!r}", item.span,
                f"sections are {', '.join(SECTIONS)}, also with a dot and a name behind",
            )  # fmt: skip
        if len(item.init) != item.layout.size:
            context.refuse(
                "IR003", f"global {item.name!r} has {len(item.init)} bytes for {item.layout.size}", item.span
            )
        if section.startswith(".bss") and any(item.init):
            context.refuse("IR003", f"global {item.name!r} is in .bss and not zero", item.span)
        if not item.layout.size:
            context.refuse("IR003", f"global {item.name!r} has no bytes", item.span)


def _signature(context: Context, function: Function) -> None:
    span, name = function.span, function.name
    if function.kind not in KINDS:
        context.refuse("IR025", f"{name}: {function.kind!r} is no kind of function", span, f"one of {', '.join(KINDS)}")
        return
    if function.kind == "program":
        if not function.section:
            context.refuse("IR025", f"program {name} has no section", span)
        if len(function.params) > 1:
            context.refuse("IR025", f"program {name} has {len(function.params)} parameters", span, "the context alone")
    if function.kind != "inline" and len(function.params) > MAX_ARGS:
        context.refuse(
            "IR008", f"{name} has {len(function.params)} parameters, five is the most", span,
            "pass a pointer to a struct, or let the function be inlined",
        )  # fmt: skip
    result = function.result
    scalar = isinstance(result, (Int, Bool)) or result is VOID
    if not scalar and (function.kind not in ("inline", "static") or not isinstance(result, Ptr)):
        context.refuse("IR016", f"{name} cannot return {result}", span, "an integer, a bool or nothing")
    for parameter in function.params:
        if (
            parameter.type is VOID
            or parameter.type is FUNC_REF
            or isinstance(parameter.type, Layout) != isinstance(parameter.type, (Int, Bool))
        ):
            context.refuse("IR016", f"{name}: a parameter cannot be {parameter.type}", span)
        if parameter.type is MAP_REF and function.kind in ("program", "global"):
            context.refuse("IR016", f"{name}: a {function.kind} function cannot take a map", span)
    for local in function.locals.values():
        if not isinstance(local.type, (Layout, Ptr)):
            context.refuse("IR016", f"{name}: local ${local.name} cannot be {local.type}", local.span)
    if not function.blocks:
        context.refuse("IR005", f"{name} has no blocks", span)


def _recursion(context: Context) -> None:
    functions = context.module.functions
    state: dict[str, int] = {}
    for start in functions:
        if start in state:
            continue
        state[start] = 1
        path = [(start, iter(_callees(functions[start])))]
        while path:
            name, rest = path[-1]
            for callee, span in rest:
                if callee not in functions:
                    continue
                if state.get(callee) == 1:
                    chain = [entry for entry, _ in path]
                    chain = [*chain[chain.index(callee) :], callee]
                    context.refuse(
                        "IR009", f"{callee} calls itself: {' -> '.join(chain)}", span,
                        "BPF programs cannot recurse; use a loop with a bound",
                    )  # fmt: skip
                elif callee not in state:
                    state[callee] = 1
                    path.append((callee, iter(_callees(functions[callee]))))
                    break
            else:
                state[name] = 2
                path.pop()


def _callees(function: Function) -> list[tuple[str, Span]]:
    return [(str(op.attrs.get("function")), op.span) for op in function.ops() if op.name in ("call", "func.addr")]
