# ruff: noqa: D103 - the functions are named after rows of the table of operations, which docs/ir.md explains
"""Maps, ring buffers, helpers, functions, kernel functions, tail calls and messages."""

from __future__ import annotations

from osmia.compiler.evaluate.buffers import RingMap
from osmia.compiler.evaluate.faults import Fault, bad_argument, malformed
from osmia.compiler.evaluate.frame import TailCall, result_type
from osmia.compiler.evaluate.helpers import call_helper
from osmia.compiler.evaluate.memory import NULL, U64_MASK, Pointer
from osmia.compiler.evaluate.printf import format_message
from osmia.compiler.evaluate.special import NamesMap
from osmia.compiler.evaluate.values import convert, unsigned, word
from osmia.compiler.ir import VOID, Ptr, Space
from osmia.object.layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.compiler.evaluate.frame import Frame, Run
    from osmia.compiler.evaluate.maps import Map
    from osmia.compiler.ir import Function, Op

MAX_TAIL_CALLS = 33


def _map(frame: Frame, op: Op) -> Map:
    found = frame.run.machine.maps.get(op.attrs["map"])
    if found is None:
        raise malformed(f"there is no map {op.attrs['map']}")
    return found


def eval_map_ref(frame: Frame, op: Op) -> Map:
    return _map(frame, op)


def eval_map_lookup(frame: Frame, op: Op) -> Pointer:
    table = _map(frame, op)
    table.check_reading()
    found = table.lookup(frame.run.read(frame.pointer(op.args[0]), table.key_size))
    return NULL if found is None else found


def eval_map_update(frame: Frame, op: Op) -> int:
    table = _map(frame, op)
    table.check_writing()
    key, value = (frame.pointer(arg) for arg in op.args)
    flags = op.attrs.get("flags") or 0
    return table.update(frame.run.read(key, table.key_size), frame.run.read(value, table.value_size), flags & U64_MASK)


def eval_map_delete(frame: Frame, op: Op) -> int:
    table = _map(frame, op)
    table.check_writing()
    return table.delete(frame.run.read(frame.pointer(op.args[0]), table.key_size))


def eval_ring_reserve(frame: Frame, op: Op) -> Pointer:
    ring, type_ = _map(frame, op), result_type(op)
    if not isinstance(ring, RingMap) or not isinstance(type_, Ptr):
        raise malformed(f"ring.reserve of {ring.name}, which is no ring buffer")
    size = type_.to.size if isinstance(type_.to, Layout) else type_.bound
    if size is None:
        raise malformed("ring.reserve does not say how many bytes")
    record = ring.reserve(size)
    return NULL if record is None else Pointer(record.region, 0)


def eval_ring_end(frame: Frame, op: Op) -> None:
    end_record(frame.run.machine.maps, frame.pointer(op.args[0]), op.name == "ring.submit")


def end_record(maps: dict[str, Map], pointer: Pointer, submit: bool) -> None:
    """Submits or discards a reserved record, whichever ring it is of."""
    region = pointer.region
    if region is None or region.space is not Space.RING:
        raise bad_argument(f"{pointer!r} is ended as a ring record")
    for ring in maps.values():
        if isinstance(ring, RingMap) and any(record.region is region for record in ring.records):
            ring.finish(pointer, submit)
            return
    raise Fault("IR350", "a ring record is ended twice", "end each record once on every way")


def eval_helper(frame: Frame, op: Op) -> Any:
    if len(op.args) > 5:
        raise malformed(f"helper {op.attrs['name']} gets {len(op.args)} arguments; five is the most")
    result = call_helper(frame.run, op.attrs["name"].removeprefix("bpf_"), [frame.value(arg) for arg in op.args])
    return None if op.result is None else convert(result, op.result.type, frame.run.machine.kernel)


def _function(frame: Frame, op: Op) -> Function:
    found = frame.run.machine.module.functions.get(op.attrs["function"])
    if found is None:
        raise malformed(f"there is no function {op.attrs['function']}")
    return found


def eval_call(frame: Frame, op: Op) -> Any:
    function = _function(frame, op)
    result = frame.run.call(function, [frame.value(arg) for arg in op.args])
    if op.result is None:
        return None
    return convert(0 if function.result is VOID else result, op.result.type, frame.run.machine.kernel)


def eval_func_addr(frame: Frame, op: Op) -> Function:
    return _function(frame, op)


def eval_kfunc(frame: Frame, op: Op) -> Any:
    name = op.attrs["name"]
    function = frame.run.machine.kfuncs.get(name)
    if function is None:
        raise Fault("IR348", f"the kernel function {name} is not there", "give it: Evaluator(kfuncs={...})")
    result = function(frame.run, *(frame.value(arg) for arg in op.args))
    return None if op.result is None else convert(result, op.result.type, frame.run.machine.kernel)


def eval_kfunc_exists(frame: Frame, op: Op) -> bool:
    return op.attrs["name"] in frame.run.machine.kfuncs


def eval_tail_call(frame: Frame, op: Op) -> None:
    index = unsigned(frame.number(op.args[0]), 32)
    take_over(frame.run, _map(frame, op), index, frame.context(op, 1))


def take_over(run: Run, table: Map, index: int, context: Pointer) -> None:
    """A tail call: never returns when there is a program at the index and the limit is not reached."""
    if not isinstance(table, NamesMap):
        raise bad_argument(f"tail call through {table.name}, which is no prog_array")
    name = table.target(index)
    if name is None or run.tail_calls >= MAX_TAIL_CALLS:
        return
    target = run.machine.module.functions.get(name)
    if target is None:
        raise malformed(f"{table.name} leads to {name}, and there is no such function")
    run.tail_calls += 1
    raise TailCall(target, context)


def eval_printk(frame: Frame, op: Op) -> None:
    if len(op.args) > 12:
        raise bad_argument("printk takes at most twelve values")
    values = [frame.value(arg) for arg in op.args]
    text = op.attrs["format"].encode("utf-8", "surrogateescape")
    found = format_message(frame.run, text, [value if isinstance(value, Pointer) else word(value) for value in values])
    if found is None:
        raise bad_argument(f"{op.attrs['format']!r} with {len(values)} values is no format the kernel takes")
    frame.run.say(found)
