import struct

import pytest

from osmia.diagnostics import SymbolError
from osmia.symbols.kernel import KernelSymbols
from osmia.symbols.process import SymbolCache
from osmia.symbols.stacks import (
    Frame,
    build_id_frames,
    fold,
    kernel_frames,
    split_addresses,
    split_build_ids,
)

TABLE = """\
ffffffff81000000 T _stext
ffffffff81000010 T entry
ffffffff81000100 T never_returns
ffffffff81000200 T handler
ffffffff81000300 T _etext
"""


@pytest.fixture
def kernel(tmp_path):
    (tmp_path / "kallsyms").write_text(TABLE)
    return KernelSymbols(str(tmp_path / "kallsyms"))


def test_addresses_of_a_stack():
    data = struct.pack("=5Q", 1, 2, 3, 0, 9)
    assert split_addresses(data) == [1, 2, 3]
    assert split_addresses(data[:24]) == [1, 2, 3]
    assert split_addresses(memoryview(bytearray(data))) == [1, 2, 3]
    assert split_addresses(b"") == []
    with pytest.raises(SymbolError) as caught:
        split_addresses(b"123")
    assert caught.value.code == "SYM017"


def test_return_addresses_belong_to_the_call_before_them(kernel):
    # never_returns ends with a call: the address it would return to is the start of handler.
    frames = kernel_frames([0xFFFFFFFF81000200, 0xFFFFFFFF81000200, 0xFFFFFFFF81000050], kernel)
    assert [(frame.name, frame.offset) for frame in frames] == [
        ("handler", 0),
        ("never_returns", 0x100),
        ("entry", 0x40),
    ]
    assert [frame.address for frame in frames] == [0xFFFFFFFF81000200, 0xFFFFFFFF81000200, 0xFFFFFFFF81000050]
    assert all(frame.kernel for frame in frames)


def test_an_exact_address_behind_a_gap_is_found_too(kernel):
    lone = kernel_frames([0xFFFFFFFF81000050, 0xFFFFFFFF81000000], kernel)[1]
    assert (lone.name, lone.offset) == ("_stext", 0)


def test_unknown_addresses_and_marks(kernel):
    # -512 is PERF_CONTEXT_USER, which perf puts between parts of a chain.
    frames = kernel_frames([5, (1 << 64) - 512, 0x1000], kernel)
    assert [str(frame) for frame in frames] == ["0x5", "0x1000"]
    assert [frame.label for frame in frames] == ["[unknown]", "[unknown]"]


def test_text_of_frames():
    assert str(Frame("main", 0x1F, "/bin/x")) == "main+0x1f (/bin/x)"
    assert str(Frame("", 0x1F, "/bin/x")) == "0x1f (/bin/x)"
    assert str(Frame("do_exit", 3, "")) == "do_exit+0x3"
    assert Frame("", 1, "/usr/lib/libx.so.1 (deleted)").label == "[libx.so.1]"
    assert Frame("", 1, "[vdso]").label == "[vdso]"
    assert Frame("a", 1, "m", 2) == Frame("a", 1, "m", 2) != Frame("a", 1, "m", 3)


def test_folded_stacks():
    user = [Frame("write", 1, "libc"), Frame("save(a;b)", 2, "x"), Frame("main", 3, "x")]
    kernel = [Frame("vfs_write", 1, "", kernel=True), Frame("do_syscall_64", 2, "", kernel=True)]
    assert fold(user, kernel) == "main;save(a:b);write;do_syscall_64;vfs_write"
    assert fold(user[:1], kernel, command="cat", annotate=True) == "cat;write;do_syscall_64_[k];vfs_write_[k]"
    assert fold() == ""
    assert fold(iter(user)) == "main;save(a:b);write"


def entry(status, build_id, place):
    return struct.pack("=i20sQ", status, build_id, place)


def test_stacks_with_build_ids(elf, tmp_path):
    build_id = bytes(range(20))
    symbols = [("caller", 0x1100, 0x20, 2, 1, 1), ("callee", 0x1140, 0x10, 2, 1, 1)]
    # The code is at file offset 0x1000 and address 0x401000.
    path = elf.file(
        tmp_path / "made", [(n, 0x400000 + v, *rest) for n, v, *rest in symbols], build_id=build_id, base=0x401000
    )
    cache = SymbolCache()
    assert cache.load(path) is not None
    data = entry(1, build_id, 0x1144) + entry(1, build_id, 0x1120) + entry(1, b"\xaa" * 20, 0x50)
    data += entry(2, bytes(20), 0xDEAD) + entry(0, bytes(20), 0) + entry(1, build_id, 0x1144)
    entries = split_build_ids(data)
    assert [(item.build_id, item.place) for item in entries] == [
        (build_id, 0x1144),
        (build_id, 0x1120),
        (b"\xaa" * 20, 0x50),
        (b"", 0xDEAD),
    ]
    frames = build_id_frames(entries, cache)
    assert [str(frame) for frame in frames] == [
        f"callee+0x4 ({path})",
        f"caller+0x20 ({path})",
        f"0x50 (build-id:{'aa' * 20})",
        "0xdead",
    ]


def test_short_build_ids_and_damaged_stacks():
    (short,) = split_build_ids(entry(1, bytes(range(1, 17)), 7))
    assert short.build_id == bytes(range(1, 17))
    for bad in (b"x" * 31, entry(7, bytes(20), 1)):
        with pytest.raises(SymbolError) as caught:
            split_build_ids(bad)
        assert caught.value.code == "SYM017"
