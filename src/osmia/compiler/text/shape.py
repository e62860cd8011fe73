"""The shape of an operation against its row: number of operands, attributes and their kinds, presence of a result.

What an operation's types must be, and where its values come from, is legality's business.
"""

from __future__ import annotations

from osmia.compiler.ir import VOID, KArray, KType, Ptr
from osmia.compiler.ir.ops import OPS
from osmia.object.layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from osmia.compiler.ir import Op

_NAMES = ("str", "local", "map", "global", "function", "label")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_steps(value: object) -> bool:
    return isinstance(value, (tuple, list)) and all(
        isinstance(step, (tuple, list))
        and len(step) == 2
        and (isinstance(step[0], str) or (_is_int(step[0]) and step[0] >= 0))
        and isinstance(step[1], (Layout, KType, KArray, Ptr))
        for step in value
    )


def _is_cases(value: object) -> bool:
    return isinstance(value, (tuple, list)) and all(
        isinstance(case, (tuple, list)) and len(case) == 2 and isinstance(case[0], int) and isinstance(case[1], str)
        for case in value
    )


_KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "int": (lambda value: isinstance(value, int), "an integer"),
    "size": (lambda value: _is_int(value) and value >= 1, "an integer from 1"),  # type: ignore[operator]
    "offset": (lambda value: _is_int(value) and value >= 0, "an integer from 0"),  # type: ignore[operator]
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "bytes": (lambda value: isinstance(value, bytes), "bytes"),
    "cases": (_is_cases, "pairs of an integer and a label"),
    "ktype": (lambda value: isinstance(value, KType), "a kernel type"),
    "steps": (_is_steps, "pairs of a name or index and a type"),
    **{name: (lambda value: isinstance(value, str), "a name") for name in _NAMES},
}


def shape_problem(op: Op) -> str | None:
    """What is wrong with an operation's shape, None when it is right."""
    row = OPS.get(op.name)
    if row is None:
        return f"there is no operation '{op.name}'"
    least = sum(1 for kind in row.operands if kind[-1] not in "?*")
    most = None if any(kind[-1] == "*" for kind in row.operands) else len(row.operands)
    if len(op.args) < least or (most is not None and len(op.args) > most):
        wanted = str(least) if most == least else f"{least} or more" if most is None else f"{least} to {most}"
        return f"{op.name} takes {wanted} operands, not {len(op.args)}"
    for name, kind in row.attrs.items():
        optional = kind.endswith("?")
        if op.attrs.get(name) is None and (optional or name in op.attrs):
            if optional:
                continue
        elif name not in op.attrs:
            return f"{op.name} needs the attribute '{name}'"
        check = _KINDS.get(kind.removesuffix("?"))
        if check is not None and not check[0](op.attrs[name]):
            return f"the attribute '{name}' of {op.name} is {check[1]}"
    for name in op.attrs:
        if name not in row.attrs:
            return f"{op.name} has no attribute '{name}'"
    if op.result is None and row.result not in ("void", "any"):
        return f"{op.name} has a result, which needs a name and a type"
    if op.result is not None and row.result == "void" and op.result.type is not VOID:
        return f"{op.name} has no result"
    return None
