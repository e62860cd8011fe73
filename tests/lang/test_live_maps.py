"""Declared maps in user space while their program is loaded: what takes other declarations, freezing, pinning."""

from __future__ import annotations

import pytest

from osmia import Program, XdpContext, u32, u64
from osmia.diagnostics import OsmiaError
from osmia.lang.net import XDP_DROP, XDP_PASS

pytestmark = pytest.mark.kernel


def test_declared_programs_and_maps_can_be_put_into_maps():
    prog = Program("livemaps")
    table = prog.prog_array(4)
    inner = prog.hash(u32, u64, max_entries=8)
    outer = prog.array_of_maps(inner, 2)

    @prog.xdp
    def first(ctx: XdpContext) -> int:
        table.tail_call(ctx, 1)
        return XDP_PASS

    @prog.xdp
    def second(ctx: XdpContext) -> int:
        values = outer.get(0)
        if values is not None:
            values[1] = 2
        return XDP_DROP

    with prog.open(attach=False):
        assert prog.first.test_run(bytes(64)).retval == XDP_PASS
        table[1] = prog.second
        outer[0] = inner
        assert prog.first.test_run(bytes(64)).retval == XDP_DROP
        assert inner[1] == 2


def test_a_frozen_map_takes_no_more_writes():
    prog = Program("frozen")
    values = prog.hash(u32, u64, max_entries=8)

    @prog.xdp
    def reader(ctx: XdpContext) -> int:
        return XDP_PASS if values.get(1, 0) == 5 else XDP_DROP

    with prog.open(attach=False):
        values.update({1: 5, 2: 6})
        values.freeze()
        assert prog.reader.test_run(bytes(64)).retval == XDP_PASS
        with pytest.raises(OsmiaError):
            values[1] = 7
        assert values[1] == 5
