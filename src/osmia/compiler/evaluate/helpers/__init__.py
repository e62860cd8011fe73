"""Helper functions of the evaluator: a registry by the kernel's name.

A helper is a Python function of the run and the arguments, declared with their kinds (see :func:`helper`). Tests add or
replace helpers with plain functions ``(run, *args)``, where numbers arrive as the kernel passes them (unsigned, 64
bits), pointers as :class:`~osmia.compiler.evaluate.memory.Pointer`, maps and functions as themselves.
"""

from __future__ import annotations

from osmia.compiler.evaluate.faults import Fault, bad_argument
from osmia.compiler.evaluate.helpers.registry import HELPERS
from osmia.compiler.evaluate.maps import Map
from osmia.compiler.evaluate.memory import NULL, Pointer
from osmia.compiler.evaluate.values import word
from osmia.compiler.ir import Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.compiler.evaluate.frame import Run


def _load() -> None:
    from osmia.compiler.evaluate.helpers import loops, memory, network, tables, task, text  # noqa: F401


def builtin_helpers() -> list[str]:
    """Names of the helpers that are built in."""
    _load()
    return sorted(HELPERS)


def call_helper(run: Run, name: str, args: list[Any]) -> Any:
    """Calls a helper by its name without ``bpf_``."""
    own = run.machine.helpers.get(name)
    if own is not None:
        return own(run, *(arg if isinstance(arg, (Pointer, Map, Function)) else word(arg) for arg in args))
    if not HELPERS:
        _load()
    row = HELPERS.get(name)
    if row is None:
        raise _unknown(run, name)
    function, kinds, least = row
    if not least <= len(args) <= len(kinds):
        raise bad_argument(f"helper {name} takes {len(kinds)} arguments, not {len(args)}")
    return function(run, *(_argument(name, kind, arg) for kind, arg in zip(kinds, args, strict=False)))


def _argument(name: str, kind: str, value: Any) -> Any:
    if kind == "map":
        if isinstance(value, Map):
            return value
        if isinstance(value, Pointer):
            region = value.region
            if region is not None and isinstance(region.target, Map) and not value.offset:
                return region.target
            if value.null:
                raise Fault("IR342", f"helper {name} gets a null map", "branch with br.nonnull first")
        raise bad_argument(f"helper {name} wants a map, not {value!r}")
    if kind == "func":
        if isinstance(value, Function):
            return value
        raise bad_argument(f"helper {name} wants a function, not {value!r}")
    if kind == "ptr":
        if isinstance(value, Pointer):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return Pointer(None, word(value)) if value else NULL
        raise bad_argument(f"helper {name} wants a pointer, not {value!r}")
    if isinstance(value, (Pointer, int)):
        return word(value) & 0xFFFFFFFF if kind == "u32" else word(value)
    raise bad_argument(f"helper {name} wants a number, not {value!r}")


def _unknown(run: Run, name: str) -> Fault:
    from osmia.abi.helpers import helpers
    from osmia.diagnostics.text import did_you_mean

    known = {row.name for row in helpers()}
    if name in known:
        return Fault(
            "IR348", f"the evaluator does not know what helper {name} does here", "give it: Evaluator(helpers={...})"
        )
    return Fault("IR348", f"there is no helper {name}", did_you_mean(name, known))
