"""Leaves out functions that nothing calls and blocks that nothing reaches."""

from __future__ import annotations

from osmia.compiler.ir import Function, Module
from osmia.compiler.ir.flow import Flow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def with_functions(module: Module, functions: Iterable[Function]) -> Module:
    """A module with other functions; the rest is shared."""
    result = Module(module.name, module.license)
    result.maps = module.maps
    result.globals = module.globals
    result.events = module.events
    result.extras = module.extras
    result.functions = {function.name: function for function in functions}
    return result


def with_body(function: Function, kind: str | None = None) -> Function:
    """A function with the same signature and locals and no blocks yet."""
    result = Function(
        function.name, list(function.params), function.result, kind=kind or function.kind, section=function.section,
        hook=function.hook, sleepable=function.sleepable, span=function.span,
    )  # fmt: skip
    result.locals = dict(function.locals)
    return result


def callees(function: Function) -> list[str]:
    """Functions that a function calls or passes as callbacks, each once."""
    found = dict.fromkeys(op.attrs["function"] for op in function.ops() if op.name in ("call", "func.addr"))
    return list(found)


def prune(module: Module) -> Module:
    """The module without dead functions: kept are programs and global functions, and what they reach."""
    kept: set[str] = set()
    work = [name for name, function in module.functions.items() if function.kind in ("program", "global")]
    bodies: dict[str, Function] = {}
    while work:
        name = work.pop()
        if name in kept:
            continue
        kept.add(name)
        bodies[name] = _reachable(module.functions[name])
        work.extend(callees(bodies[name]))
    if len(kept) == len(module.functions) and all(bodies[name] is module.functions[name] for name in kept):
        return module
    return with_functions(module, (bodies[name] for name in module.functions if name in kept))


def _reachable(function: Function) -> Function:
    """The function without blocks that nothing reaches."""
    flow = Flow(function)
    if len(flow.order) == len(function.blocks):
        return function
    reached = set(flow.order)
    result = with_body(function)
    result.blocks = [block for block in function.blocks if block.label in reached]
    return result
