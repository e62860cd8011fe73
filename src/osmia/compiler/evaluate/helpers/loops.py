"""Helpers that call back, and tail calls by helper."""

from __future__ import annotations

import errno

from osmia.compiler.evaluate.helpers.registry import helper
from osmia.compiler.evaluate.maps import Map
from osmia.compiler.evaluate.memory import Pointer
from osmia.compiler.ir import Space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.evaluate.frame import Run
    from osmia.compiler.ir import Function

MAX_LOOPS = 8 * 1024 * 1024


@helper("loop", args="u32 func ptr u64")
def loop(run: Run, count: int, function: Function, context: Pointer, flags: int) -> int:
    """How often the callback ran, or -errno; it runs until it returns something else than 0."""
    if flags:
        return -errno.EINVAL
    if count > MAX_LOOPS:
        return -errno.E2BIG
    for index in range(count):
        if run.invoke(function, index, context):
            return index + 1
    return count


@helper("for_each_map_elem", args="map func ptr u64")
def for_each_map_elem(run: Run, table: Map, function: Function, context: Pointer, flags: int) -> int:
    """How many entries the callback saw, or -errno; it goes on until it returns something else than 0."""
    if flags:
        return -errno.EINVAL
    seen = 0
    for key, region in table.walk():
        seen += 1
        place = run.memory(key, f"a key of map {table.name}", Space.MAP, writable=False)
        if run.invoke(function, table, place, Pointer(region, 0), context):
            break
    return seen


@helper("tail_call", args="ptr map u32")
def tail_call(run: Run, context: Pointer, table: Map, index: int) -> int:
    """Does not return when there is a program at the index."""
    from osmia.compiler.evaluate.ops.calls import take_over

    take_over(run, table, index, context)
    return 0
