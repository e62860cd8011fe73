"""Rules about maps, helpers, functions, kernel functions, tail calls and messages."""

from __future__ import annotations

import re

from osmia.compiler.ir import FUNC_REF, MAP_REF, VOID, Ptr, Space
from osmia.compiler.ir.typing import assignable, describe, reach, size_of
from osmia.compiler.legality.kernel import needs_context
from osmia.object.layout import Bool, Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.ir import Op, Value
    from osmia.compiler.legality.context import Context
    from osmia.object.spec import MapSpec

MAX_ARGS = 5
MAX_PRINT = 12
_MEMORY = (Space.STACK, Space.MAP, Space.RING, Space.GLOBAL, Space.PACKET, Space.MEM)
_CONVERSION = re.compile(r"%(%|[-+ #0]*[0-9]*(?:\.[0-9]+)?(?:hh|h|ll|l|z|j|t)?[A-Za-z]*)")


def _map(context: Context, op: Op, helper: str) -> MapSpec | None:
    """The map of an operation, when its type has the helper."""
    spec = context.module.maps.get(op.attrs["map"])
    if spec is None:
        context.at(op, "IR007", f"there is no map @{op.attrs['map']}")
        return None
    row = context.map_type(spec.name)
    if row is not None and helper and helper not in row.helpers:
        context.at(op, "IR020", f"a map of type {spec.kind} has no {helper}")
        return None
    return spec


def _holds(context: Context, op: Op, value: Value, size: int, what: str) -> None:
    pointer = value.type
    if not isinstance(pointer, Ptr):
        return
    if pointer.space not in _MEMORY:
        context.at(op, "IR010", f"the {what} cannot be in {pointer.space.value} memory", "copy it to a local first")
        return
    room = reach(pointer)
    if room is None or room < size:
        context.at(op, "IR012", f"the {what} has {size} bytes, {pointer} has {'none' if room is None else room}")


def _map_ref(context: Context, op: Op) -> None:
    _map(context, op, "")


def _lookup(context: Context, op: Op) -> None:
    spec = _map(context, op, "map_lookup_elem")
    if spec is None:
        return
    _holds(context, op, op.args[0], spec.key_size, "key")
    assert op.result is not None
    result = op.result.type
    if not isinstance(result, Ptr) or result.space is not Space.MAP or not result.nullable:
        context.at(op, "IR004", f"gives ptr<map, ...>?, not {result}")
    elif (size_of(result.to) or 0) > spec.value_size and spec.inner is None:
        context.at(op, "IR012", f"values of {spec.name} have {spec.value_size} bytes, {result.to} has more")


def _update(context: Context, op: Op) -> None:
    spec = _map(context, op, "map_update_elem")
    if spec is None:
        return
    _holds(context, op, op.args[0], spec.key_size, "key")
    _holds(context, op, op.args[1], spec.value_size, "value")
    if not 0 <= (op.attrs.get("flags") or 0) < 1 << 63:
        context.at(op, "IR003", f"flags cannot be {op.attrs['flags']}")


def _delete(context: Context, op: Op) -> None:
    spec = _map(context, op, "map_delete_elem")
    if spec is not None:
        _holds(context, op, op.args[0], spec.key_size, "key")


def _reserve(context: Context, op: Op) -> None:
    spec = _map(context, op, "ringbuf_reserve")
    assert op.result is not None
    result = op.result.type
    if not isinstance(result, Ptr) or result.space is not Space.RING or not result.nullable:
        context.at(op, "IR004", f"gives ptr<ring, ...>?, not {result}")
    elif spec is not None and not reach(result):
        context.at(op, "IR004", f"{result} does not say how many bytes to reserve")


def _ring_end(context: Context, op: Op) -> None:
    pointer = op.args[0].type
    if isinstance(pointer, Ptr) and pointer.space is not Space.RING:
        context.at(op, "IR010", f"takes a record of a ring buffer, not {pointer}")


def _count(context: Context, op: Op) -> bool:
    if len(op.args) > MAX_ARGS:
        context.at(op, "IR008", f"{len(op.args)} arguments, five is the most", "pass a pointer to a struct")
        return False
    return True


def _helper(context: Context, op: Op) -> None:
    from osmia.abi._table import suggest
    from osmia.abi.helpers import find, helpers

    name = op.attrs["name"]
    row = find(name)
    if row is None:
        hint = suggest(name, [entry.name for entry in helpers()])
        context.at(op, "IR018", f"there is no helper {name!r}", hint)
        return
    if not _count(context, op):
        return
    wanted = len(row.args)
    if len(op.args) < wanted or (len(op.args) > wanted and not row.variadic):
        context.at(op, "IR018", f"{row.name} takes {wanted} arguments, {len(op.args)} given", row.prototype)
    _declared(context, op)


def _declared(context: Context, op: Op) -> None:
    """The declared result of a call into the kernel."""
    if op.result is None:
        return
    type_ = op.result.type
    if not isinstance(type_, (Int, Bool, Ptr)):
        context.at(op, "IR004", f"cannot give {describe(type_)}")


def _call(context: Context, op: Op) -> None:
    function = context.module.functions.get(op.attrs["function"])
    if function is None:
        context.at(op, "IR007", f"there is no function @{op.attrs['function']}")
        return
    if function.kind in ("program", "callback"):
        context.at(
            op, "IR025", f"{function.name} is a {function.kind}, which cannot be called",
            "move what is shared to a function of its own",
        )  # fmt: skip
        return
    if len(op.args) != len(function.params):
        context.at(op, "IR015", f"{function.name} takes {len(function.params)} arguments, {len(op.args)} given")
        return
    for index, (value, parameter) in enumerate(zip(op.args, function.params, strict=True), 1):
        if not assignable(value.type, parameter.type):
            context.at(op, "IR015", f"argument {index} of {function.name} is {parameter.type}, not {value.type}")
    if op.result is not None and op.result.type != function.result:
        context.at(op, "IR004", f"{function.name} gives {describe(function.result)}, not {op.result.type}")


def _func_addr(context: Context, op: Op) -> None:
    function = context.module.functions.get(op.attrs["function"])
    if function is None:
        context.at(op, "IR007", f"there is no function @{op.attrs['function']}")
    elif function.kind != "callback":
        context.at(op, "IR025", f"{function.name} is no callback but {function.kind}")


def _kfunc(context: Context, op: Op) -> None:
    from osmia.compiler.legality.kernel import RULES

    if _count(context, op):
        _declared(context, op)
    RULES["kfunc.exists"](context, op)
    for value in op.args:
        if value.type in (MAP_REF, FUNC_REF):
            continue
    for other in context.definitions.values():
        if other.name == "kfunc" and other is not op and other.attrs.get("name") == op.attrs["name"]:
            mine = [v.type for v in op.args]
            theirs = [v.type for v in other.args]
            kinds = [isinstance(t, Ptr) for t in mine] != [isinstance(t, Ptr) for t in theirs]
            if kinds or (op.result and op.result.type) != (other.result and other.result.type):
                context.at(op, "IR015", f"{op.attrs['name']} is called with two signatures")
            break


def _tail_call(context: Context, op: Op) -> None:
    assert context.function is not None
    spec = _map(context, op, "")
    if spec is not None and spec.kind != "prog_array":
        context.at(op, "IR020", f"jumps through a prog_array, not a map of type {spec.kind}")
    if context.function.kind == "callback":
        context.at(op, "IR025", "a callback cannot make a tail call")
    needs_context(context, op, 1)


def _printk(context: Context, op: Op) -> None:
    text = op.attrs["format"]
    found = [match for match in _CONVERSION.findall(text) if match != "%"]
    if "\0" in text:
        context.at(op, "IR019", "a format cannot hold NUL")
    if len(found) != len(op.args):
        context.at(op, "IR019", f"{len(found)} conversions for {len(op.args)} values")
    if len(op.args) > MAX_PRINT:
        context.at(op, "IR019", f"{len(op.args)} values, {MAX_PRINT} is the most")
    for conversion, value in zip(found, op.args, strict=False):
        if not conversion or conversion[-1] not in "diuxXcsp":
            context.at(op, "IR019", f"the kernel has no conversion %{conversion}")
        elif conversion[-1] == "s" and not isinstance(value.type, Ptr):
            context.at(op, "IR019", f"%s takes a pointer, not {value.type}")
        elif conversion[-1] in "diuxXc" and not isinstance(value.type, (Int, Bool)):
            context.at(op, "IR019", f"%{conversion} takes an integer, not {value.type}")


def returns_void(op: Op) -> bool:
    """Whether a call gives nothing."""
    return op.result is None or op.result.type is VOID


RULES = {
    "map.ref": _map_ref,
    "map.lookup": _lookup,
    "map.update": _update,
    "map.delete": _delete,
    "ring.reserve": _reserve,
    "ring.submit": _ring_end,
    "ring.discard": _ring_end,
    "helper": _helper,
    "call": _call,
    "func.addr": _func_addr,
    "kfunc": _kfunc,
    "tail_call": _tail_call,
    "printk": _printk,
}
