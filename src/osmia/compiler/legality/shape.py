"""Rules about the shape of functions: blocks, terminators, operands of the right kind, definitions before uses."""

from __future__ import annotations

from osmia.compiler.ir import MAP_REF, VOID, KType, Ptr, Value
from osmia.compiler.ir.flow import Flow, successors
from osmia.compiler.ir.ops import DIRECT, OPS, WRITABLE
from osmia.compiler.ir.types import FUNC_REF
from osmia.compiler.ir.typing import describe
from osmia.compiler.legality.rules import RULES
from osmia.object.layout import Bool, Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.ir import Function, Op
    from osmia.compiler.ir.ops import OpRow
    from osmia.compiler.legality.context import Context

_EDGE = ("br.nonnull", "br.inrange", "br.packet")


def check_function(context: Context, function: Function) -> None:
    """Checks one function."""
    context.function = function
    before = len(context.found)
    _blocks(context, function)
    if len(context.found) > before or not function.blocks:
        return
    flow = Flow(function)
    context.definitions = {op.result.name: op for op in function.ops() if op.result is not None}
    for block in function.blocks:
        for op in block.ops:
            _operation(context, op, OPS[op.name])
    _definitions(context, function, flow)


def _blocks(context: Context, function: Function) -> None:
    labels: set[str] = set()
    for block in function.blocks:
        if block.label in labels:
            context.refuse("IR005", f"{function.name}: block ^{block.label} is there twice", function.span)
        labels.add(block.label)
        if not block.ops:
            context.refuse("IR005", f"{function.name}: block ^{block.label} is empty", function.span)
        for position, op in enumerate(block.ops):
            row = OPS.get(op.name)
            last = position == len(block.ops) - 1
            if row is None:
                context.at(op, "IR001", "there is no such operation")
            elif row.terminator != last:
                context.at(
                    op, "IR005",
                    f"block ^{block.label} does not end with a terminator" if last else "a terminator inside a block",
                )  # fmt: skip
    for block in function.blocks:
        for op in block.ops:
            row = OPS.get(op.name)
            if row is not None and not _attributes(context, op, row):
                return
        if any(op.name not in OPS for op in block.ops):
            continue
        for label in successors(block):
            if label not in labels:
                context.at(block.ops[-1], "IR007", f"there is no block ^{label}")
            elif label == function.blocks[0].label:
                context.at(block.ops[-1], "IR005", "nothing may branch to the entry block")


def _attributes(context: Context, op: Op, row: OpRow) -> bool:
    """Whether an operation has the attributes of its row, of the right kinds."""
    good = True
    for name, kind in row.attrs.items():
        if op.attrs.get(name) is None:
            if not kind.endswith("?"):
                context.at(op, "IR003", f"attribute {name!r} is missing")
                good = False
        elif not _attribute_fits(op.attrs[name], kind.rstrip("?")):
            context.at(op, "IR003", f"attribute {name!r} cannot be {op.attrs[name]!r}")
            good = False
    for name in op.attrs:
        if name not in row.attrs:
            context.at(op, "IR003", f"there is no attribute {name!r}")
            good = False
    return good


def _attribute_fits(value: object, kind: str) -> bool:
    if kind == "int":
        return isinstance(value, int)
    if kind == "size":
        return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31
    if kind == "offset":
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 29
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "ktype":
        return isinstance(value, KType)
    if kind == "cases":
        return isinstance(value, (tuple, list)) and all(
            isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], int) and isinstance(item[1], str)
            for item in value
        )
    if kind == "steps":
        return isinstance(value, (tuple, list)) and all(
            isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], (str, int)) for item in value
        )
    return isinstance(value, str)


# One operation


def _operation(context: Context, op: Op, row: OpRow) -> None:
    before = len(context.found)
    _operands(context, op, row)
    if len(context.found) == before:
        _result(context, op, row)
    if len(context.found) == before:
        rule = RULES.get(op.name)
        if rule is not None:
            rule(context, op)


def _operands(context: Context, op: Op, row: OpRow) -> None:
    kinds = list(row.operands)
    repeated = kinds and kinds[-1].endswith("*")
    least = sum(1 for kind in kinds if not kind.endswith(("?", "*")))
    if len(op.args) < least or (not repeated and len(op.args) > len(kinds)):
        context.at(op, "IR001", f"takes {' '.join(row.operands) or 'no operands'}, {len(op.args)} given")
        return
    for index, value in enumerate(op.args):
        kind = (kinds[index] if index < len(kinds) else kinds[-1]).rstrip("?*")
        problem = _misfit(value.type, kind, op)
        if problem is not None:
            code, text, hint = problem
            context.at(op, code, f"operand {index + 1} is {describe(value.type)}, {text}", hint)


def _misfit(type_: object, kind: str, op: Op) -> tuple[str, str, str | None] | None:
    """Why a type does not fit an operand's kind: code, text, hint."""
    wrong = "IR002"
    if kind == "int":
        return None if isinstance(type_, Int) else (wrong, "not an integer", None)
    if kind == "same":
        first = op.args[0].type
        if op.name in ("eq", "ne") and isinstance(first, Ptr) and isinstance(type_, Ptr):
            return None if first.space is type_.space else (wrong, "not of the first operand's space", None)
        return None if type_ == first else (wrong, f"the first is {describe(first)}", "convert one of them")
    if kind == "cmp":
        return None if isinstance(type_, (Int, Bool, Ptr)) else (wrong, "not comparable", None)
    if kind == "scalar":
        return None if isinstance(type_, (Int, Bool)) else (wrong, "not an integer or bool", None)
    if kind == "bool":
        return None if isinstance(type_, Bool) else (wrong, "not a bool", None)
    if kind == "u64":
        return None if type_ == Int(64) else (wrong, "not u64", None)
    if kind == "index":
        return None if type_ in (Int(32), Int(64)) else (wrong, "not u32 or u64", None)
    if kind == "wide":
        if isinstance(type_, Int) and type_.bits in (32, 64):
            return None
        return "IR014", "atomics take 32 or 64 bits", "use a 32 or 64 bit field, or compare and exchange its word"
    if kind == "any":
        good = isinstance(type_, (Int, Bool, Ptr)) or type_ in (MAP_REF, FUNC_REF)
        return None if good else (wrong, "not a value", None)
    return _pointer_misfit(type_, kind)


_SPACES = {
    "read": DIRECT,
    "write": WRITABLE,
    "kernel": ("kernel", "btf"),
    "user": ("user",),
    "probe": ("kernel", "user", "btf"),
    "packet": ("packet",),
    "ctx": ("ctx",),
}


def _pointer_misfit(type_: object, kind: str) -> tuple[str, str, str | None] | None:
    if not isinstance(type_, Ptr):
        return "IR002", "not a pointer", None
    if type_.nullable and kind != "maybe":
        return "IR011", "which may be null", "check it first (br.nonnull)"
    spaces = _SPACES.get(kind)
    if spaces is not None and type_.space.value not in spaces:
        hint = None
        if kind in ("read", "write") and type_.space.value in ("kernel", "user"):
            hint = "kernel and user memory is read with probe reads"
        return "IR010", f"memory must be one of {', '.join(spaces)}", hint
    return None


def _result(context: Context, op: Op, row: OpRow) -> None:
    rule = row.result
    if rule == "void":
        if op.result is not None and op.result.type is not VOID:
            context.at(op, "IR004", "has no result")
        return
    if op.result is None:
        if rule != "any":
            context.at(op, "IR004", "its result is missing")
        return
    type_ = op.result.type
    wanted: object = None
    if rule in ("bool", "u64", "s64"):
        wanted = {"bool": Bool(), "u64": Int(64), "s64": Int(64, True)}[rule]
    elif rule in ("first", "second"):
        wanted = op.args[0 if rule == "first" else 1].type
    elif rule == "map":
        wanted = MAP_REF
    elif rule == "func":
        wanted = FUNC_REF
    if wanted is not None and type_ != wanted:
        context.at(op, "IR004", f"gives {describe(wanted)}, not {describe(type_)}")
    elif rule == "int" and not isinstance(type_, Int):
        context.at(op, "IR004", f"gives an integer, not {describe(type_)}")
    elif rule == "ptr" and not isinstance(type_, Ptr):
        context.at(op, "IR004", f"gives a pointer, not {describe(type_)}")
    elif rule == "value" and not isinstance(type_, (Int, Bool, Ptr)):
        context.at(op, "IR004", f"gives a scalar or pointer, not {describe(type_)}")


# Definitions and uses


def _definitions(context: Context, function: Function, flow: Flow) -> None:
    where: dict[str, tuple[str, int]] = {parameter.name: ("", -1) for parameter in function.params}
    values: dict[str, Value] = {parameter.name: parameter for parameter in function.params}
    if len(where) != len(function.params):
        context.refuse("IR006", f"{function.name} has two parameters of one name", function.span)
    for block in function.blocks:
        for position, op in enumerate(block.ops):
            if op.result is None or op.result.type is VOID:
                continue
            name = op.result.name
            if name in where:
                context.at(op, "IR006", f"%{name} is defined twice")
            if op.name in _EDGE:
                # Defined on the edge: known from the start of a block that is reached by this edge alone.
                target = op.attrs["then"]
                alone = flow.preds.get(target) == [block.label] and target != op.attrs["other"]
                where[name] = (target, -1) if alone else (f"edge to {target}", -1)
            else:
                where[name] = (block.label, position)
            values[name] = op.result
    for label in flow.order:
        for position, op in enumerate(flow.blocks[label].ops):
            for value in op.args:
                _use(context, op, value, (label, position), where, values, flow)


def _use(
    context: Context, op: Op, value: Value, here: tuple[str, int], where: dict[str, tuple[str, int]],
    values: dict[str, Value], flow: Flow,
) -> None:  # fmt: skip
    place = where.get(value.name)
    if place is None:
        context.at(op, "IR006", f"%{value.name} is not defined")
    elif values[value.name].type != value.type:
        context.at(op, "IR006", f"%{value.name} is {describe(values[value.name].type)}, used as {describe(value.type)}")
    elif place[0].startswith("edge to "):
        context.at(
            op, "IR006", f"%{value.name} is known in ^{place[0][8:]} only when the check alone leads there",
            "give the check a block of its own to branch to",
        )  # fmt: skip
    elif place[0]:
        block, position = place
        if block not in flow.preds:
            context.at(op, "IR006", f"%{value.name} is defined in a block that is never reached")
        elif block == here[0]:
            if position >= here[1]:
                context.at(op, "IR006", f"%{value.name} is used before it is defined")
        elif not flow.dominates(block, here[0]):
            context.at(op, "IR006", f"%{value.name} is not defined on every way here", "keep it in a local")
