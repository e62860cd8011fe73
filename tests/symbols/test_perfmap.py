import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.symbols.perfmap import PerfMap


@pytest.fixture
def root(tmp_path):
    (tmp_path / "tmp").mkdir()
    return tmp_path


def load(root, text, owner=None):
    (root / "tmp/perf-7.map").write_text(text)
    return PerfMap(str(root), "/tmp/perf-7.map", os.geteuid() if owner is None else owner)


def at_once(perf_map):
    """Look at the file again at the next lookup, not half a second later."""
    perf_map._checked = float("-inf")
    return perf_map


def test_functions(root):
    perf_map = load(root, "1000 20 LazyCompile:~go app.js:1\n0x2000 0x10 Builtin:Call\n3000 8 _ZN1a1bEv\n")
    assert perf_map.lookup(0x1000) == ("LazyCompile:~go app.js:1", 0)
    assert perf_map.lookup(0x101F) == ("LazyCompile:~go app.js:1", 0x1F)
    assert perf_map.lookup(0x1020) is None
    assert perf_map.lookup(0xFFF) is None
    assert perf_map.lookup(0x2004) == ("Builtin:Call", 4)
    assert perf_map.lookup(0x3000)[0] in ("a::b()", "_ZN1a1bEv")


def test_a_file_that_grows_and_is_replaced(root):
    path = root / "tmp/perf-7.map"
    perf_map = load(root, "1000 20 first\n2000 20 half a li")
    assert perf_map.lookup(0x1001) == ("first", 1)
    assert perf_map.lookup(0x2001) is None
    with open(path, "a") as file:
        file.write("ne\n1000 20 second\n")
    assert at_once(perf_map).lookup(0x2001) == ("half a line", 1)
    assert perf_map.lookup(0x1001) == ("second", 1)
    path.unlink()
    path.write_text("5000 20 other\n")
    assert at_once(perf_map).lookup(0x5001) == ("other", 1)
    assert perf_map.lookup(0x1001) is None
    path.unlink()
    assert at_once(perf_map).lookup(0x5001) == ("other", 1)


def test_newer_functions_take_memory_from_older_ones(root):
    perf_map = load(root, "1000 100 old\n1040 20 new\n10f0 40 tail\n")
    names = {address: perf_map.lookup(address) for address in (0x1000, 0x103F, 0x1040, 0x105F, 0x1060, 0x10F0, 0x112F)}
    assert names == {
        0x1000: ("old", 0),
        0x103F: ("old", 0x3F),
        0x1040: ("new", 0),
        0x105F: ("new", 0x1F),
        0x1060: ("old", 0x60),
        0x10F0: ("tail", 0),
        0x112F: ("tail", 0x3F),
    }


def test_odd_lines_are_counted_not_trusted(root):
    perf_map = load(root, "zz 1 a\n1000 0 b\n1000\n\n-5 10 c\nffffffffffffffff ff d\n2000 10 good\n1000 -5 e\n")
    assert perf_map.lookup(0x2000) == ("good", 0)
    assert perf_map.lookup(0x1000) is None
    assert perf_map.skipped == 7


def test_files_of_other_users_and_other_things_are_not_read(root):
    if os.geteuid() == 0:
        perf_map = load(root, "1000 20 f\n", owner=12345)
        os.chown(root / "tmp/perf-7.map", 54321, 54321)
        assert perf_map.lookup(0x1000) is None
        (root / "tmp/perf-7.map").unlink()
    os.mkfifo(root / "tmp/perf-8.map")
    assert PerfMap(str(root), "/tmp/perf-8.map").lookup(0x1000) is None
    assert PerfMap(str(root), "/tmp/none.map").lookup(0x1000) is None
    # Nor are links, which anybody may put into /tmp.
    (root / "tmp/secret").write_text("1000 20 secret\n")
    (root / "tmp/perf-9.map").symlink_to("secret")
    for place in ("/", str(root)):
        name = "/tmp/perf-9.map" if place != "/" else f"{root}/tmp/perf-9.map"
        assert PerfMap(place, name, os.geteuid()).lookup(0x1000) is None


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=12))
@settings(max_examples=200, deadline=None)
def test_the_last_function_written_owns_each_byte(tmp_path_factory, functions):
    root = tmp_path_factory.mktemp("root")
    (root / "tmp").mkdir()
    perf_map = load(root, "".join(f"{start:x} {size:x} f{n}\n" for n, (start, size) in enumerate(functions)))
    for address in range(64):
        owners = [n for n, (start, size) in enumerate(functions) if start <= address < start + size]
        expected = (f"f{owners[-1]}", address - functions[owners[-1]][0]) if owners else None
        assert perf_map.lookup(address) == expected
