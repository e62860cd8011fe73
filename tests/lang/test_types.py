"""Types of program files: layouts, casts, structs, and what is refused."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Literal

import pytest

from osmia import Array, Bytes, Char, kenum, s8, s64, u8, u16, u32, u64
from osmia.diagnostics import UsageError
from osmia.ktypes import task_struct, tcp_state
from osmia.lang import net
from osmia.lang.program import ProgramDecl
from osmia.lang.structs import describe
from osmia.lang.types import KernelName, KernelType, layout_of
from osmia.object import layout as L

prog = ProgramDecl("sample")


class Color(IntEnum):
    RED = 1
    BLUE = 7


class Signed(IntEnum):
    MINUS = -1
    PLUS = 1


class Huge(IntEnum):
    BIG = 1 << 40


@prog.struct
class Point:
    x: u32
    y: u64


@prog.event(columns={"took": "ms"})
class Slow:
    took: u64
    name: Char[16] = "?"
    point: Point = Point(1, 2)
    color: Color = Color.RED


@pytest.mark.parametrize(
    ("written", "layout", "text"),
    [
        (u8, L.U8, "u8"),
        (s64, L.S64, "s64"),
        (int, L.S64, "s64"),
        (bool, L.BOOL, "bool"),
        (Char[16], L.Char(16), "Char[16]"),
        (Char[Literal[16]], L.Char(16), "Char[16]"),
        (Annotated[str, Char[16]], L.Char(16), "Char[16]"),
        (Bytes[6], L.Bytes(6), "Bytes[6]"),
        (Array[u32, 4], L.Array(L.U32, 4), "Array[u32, 4]"),
        (Array[Array[u8, 2], 3], L.Array(L.Array(L.U8, 2), 3), "Array[Array[u8, 2], 3]"),
        (Color, L.Enum("Color", L.U32, [("RED", 1), ("BLUE", 7)]), "enum Color"),
        (Signed, L.Enum("Signed", L.S32, [("MINUS", -1), ("PLUS", 1)]), "enum Signed"),
        (Huge, L.Enum("Huge", L.U64, [("BIG", 1 << 40)]), "enum Huge"),
        (kenum("tcp_state"), L.Enum("tcp_state", L.U32), "enum tcp_state"),
        (Point, L.Struct.of("Point", [("x", L.U32), ("y", L.U64)]), "Point"),
        ((u8, u32), L.Struct.of("tuple", [("_0", L.U8), ("_1", L.U32)]), "(u8, u32)"),
        (tuple[u8, Char[4]], L.Struct.of("tuple", [("_0", L.U8), ("_1", L.Char(4))]), "(u8, Char[4])"),
    ],
)
def test_layout(written, layout, text):
    assert layout_of(written) == layout
    assert describe(layout) == text


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        (str, "Char[16]"), (bytes, "Bytes[16]"), (float, "floating point"), (list, "Array"), (list[int], "Array"),
        (dict, "use u8"), (task_struct, "fields you need"), (Char, "size"), (None, "use u8"), (object, "use u8"),
    ],
)  # fmt: skip
def test_types_without_a_layout(written, hint):
    with pytest.raises(UsageError) as caught:
        layout_of(written, "field 'x' of E")
    assert caught.value.code == "PY002"
    assert "field 'x' of E" in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("size", [0, -1, "x", True, 1 << 21, 1.5])
def test_sizes_that_make_no_sense(size):
    for kind in (Char, Bytes):
        with pytest.raises(UsageError, match="PY003"):
            kind[size]
    with pytest.raises(UsageError, match="PY003"):
        Array[u8, size]


def test_array_needs_two_arguments():
    with pytest.raises(UsageError, match="PY003"):
        Array[u8]


def test_casts_in_user_space_keep_the_low_bits():
    assert (u8(300), s8(200), u32(-1), u16(1 << 20), s64(1 << 63)) == (44, -56, 0xFFFFFFFF, 0, -(1 << 63))
    assert u32() == 0


def test_sized_types_are_not_called():
    for kind in (Char, Char[4], Array[u8, 2], task_struct):
        with pytest.raises(UsageError, match="PY004"):
            kind("x")


def test_kernel_types():
    assert isinstance(task_struct, KernelType)
    assert task_struct.name == "task_struct"
    assert isinstance(tcp_state.TCP_CLOSE, KernelName)
    assert repr(tcp_state.TCP_CLOSE) == "tcp_state.TCP_CLOSE"
    from osmia import ktypes

    assert ktypes.task_struct == task_struct and hash(ktypes.task_struct) == hash(task_struct)
    assert not hasattr(ktypes, "__wrapped__")
    assert (u32 | None) is u32 and (None | u32) is u32


def test_struct_classes():
    event = Slow(5)
    assert repr(event) == "Slow(took=5, name='?', point=Point(x=1, y=2), color=<Color.RED: 1>)"
    assert event == Slow(took=5, name="?") and event != Slow(6)
    assert len({event, Slow(5)}) == 1
    assert Slow.__columns__ == {"took": "ms"}
    layout = layout_of(Slow)
    assert layout.unpack(layout.pack(event)).point == Point(1, 2)
    with pytest.raises(AttributeError):
        event.other = 1
    with pytest.raises(TypeError):
        Slow()
    with pytest.raises(TypeError):
        Slow(1, 2, 3, 4, 5)


def test_struct_with_default_before_others():
    @prog.struct
    class Odd:
        a: u32 = 1
        b: u32

    assert (Odd(b=2).a, Odd(3, 4).a) == (1, 3)
    for wrong in ((), (1, 2, 3)):
        with pytest.raises(TypeError):
            Odd(*wrong)
    with pytest.raises(TypeError):
        Odd(b=1, c=2)


def test_lists_in_defaults_belong_to_each_object():
    @prog.struct
    class Cells:
        first: u32
        cells: Array[u32, 2] = [0, 0]

    @prog.struct
    class Mixed:
        cells: Array[u32, 2] = [0, 0]
        last: u32

    for make in (lambda: Cells(1), lambda: Mixed(last=1)):
        one, other = make(), make()
        one.cells[0] = 5
        assert (one.cells, other.cells, make().cells) == ([5, 0], [0, 0], [0, 0])


def test_struct_may_refer_to_local_types():
    size = 8

    @prog.struct
    class Inner:
        name: Char[size]

    @prog.struct
    class Outer:
        inner: Inner

    assert layout_of(Outer).size == 8


def test_structs_that_cannot_be():
    with pytest.raises(UsageError, match="PY001"):

        @prog.struct
        class Empty:
            pass

    with pytest.raises(UsageError, match="PY001"):

        @prog.struct
        class Derived(Point):
            z: u32

    with pytest.raises(UsageError, match="PY002"):

        @prog.struct
        class Unknown:
            x: nothing  # noqa: F821

    with pytest.raises(UsageError, match="PY002"):

        @prog.struct
        class Wrong:
            x: u8 = 300

    with pytest.raises(UsageError, match="PY005"):

        @prog.event(columns={"y": "ms"})
        class Shown:
            x: u8


def test_headers_have_their_size_on_the_wire():
    sizes = {
        "EthHdr": 14,
        "VlanHdr": 4,
        "ArpHdr": 8,
        "Ipv4Hdr": 20,
        "Ipv6Hdr": 40,
        "TcpHdr": 20,
        "UdpHdr": 8,
        "IcmpHdr": 8,
    }
    for name, size in sizes.items():
        layout = layout_of(getattr(net, name))
        assert layout.size == size, name
        assert [field.offset for field in layout.fields] == sorted(field.offset for field in layout.fields)
