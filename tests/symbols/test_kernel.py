import random
import time

import pytest

from osmia.diagnostics import SymbolError
from osmia.symbols.kernel import KernelSymbols

TABLE = """\
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000000 t first_helper
ffffffff81000100 T sys_one
ffffffff81000100 t __sys_one_alias
ffffffff81000200 T sys_two
ffffffff81000300 t twin
ffffffff81000400 t twin
ffffffff81000500 D some_data
ffffffff81000600 T after_data
ffffffff81000700 T _etext
ffffffff82000000 D jiffies
ffffffffc0000000 t mod_init\t[demo]
ffffffffc0000080 t mod_work\t[demo]
ffffffffc0000300 t bpf_prog_6deef7357e7b4530_count\t[bpf]
ffffffffc0000040 t mod_between\t[demo]
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "kallsyms"
    path.write_text(TABLE)
    return path


@pytest.fixture
def symbols(table):
    return KernelSymbols(str(table))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (0xFFFFFFFF81000000, ("first_helper", 0, "")),
        (0xFFFFFFFF81000123, ("sys_one", 0x23, "")),
        (0xFFFFFFFF810002FF, ("sys_two", 0xFF, "")),
        (0xFFFFFFFF81000301, ("twin", 1, "")),
        (0xFFFFFFFF81000500, ("", 0xFFFFFFFF81000500, "")),
        (0xFFFFFFFF81000610, ("after_data", 0x10, "")),
        (0xFFFFFFFF81000700, ("", 0xFFFFFFFF81000700, "")),
        (0xFFFFFFFF82000000, ("", 0xFFFFFFFF82000000, "")),
        (0xFFFFFFFFC0000044, ("mod_between", 4, "demo")),
        (0xFFFFFFFFC0000310, ("bpf_prog_6deef7357e7b4530_count", 0x10, "bpf")),
        (0xFFFFFFFFC0200000, ("", 0xFFFFFFFFC0200000, "")),
        (0xFFFFFFFF80FFFFFF, ("", 0xFFFFFFFF80FFFFFF, "")),
        (0, ("", 0, "")),
        ((1 << 64) - 1, ("", (1 << 64) - 1, "")),
    ],
)
def test_addresses(symbols, address, expected):
    assert symbols.lookup(address) == expected
    assert symbols.resolve([address]) == [expected]


def test_names(symbols):
    assert symbols.address("sys_two") == 0xFFFFFFFF81000200
    assert symbols.address("mod_work") == 0xFFFFFFFFC0000080
    assert symbols.address("mod_work", "demo") == 0xFFFFFFFFC0000080
    assert symbols.address("some_data") == 0xFFFFFFFF81000500
    assert symbols.find_all("mod_work") == [(0xFFFFFFFFC0000080, "t", "demo")]
    assert "sys_one" in symbols and "sys" not in symbols and "one" not in symbols
    assert "some_data" not in set(symbols.names())
    with pytest.raises(SymbolError) as caught:
        symbols.address("sys_tow")
    assert caught.value.code == "SYM011" and "'sys_two'" in caught.value.hint
    with pytest.raises(SymbolError) as caught:
        symbols.address("mod_work", "")
    assert caught.value.code == "SYM011"
    with pytest.raises(SymbolError) as caught:
        symbols.address("twin")
    assert caught.value.code == "SYM005" and "0xffffffff81000300" in caught.value.hint
    for odd in ("", "a b", "a\nb", "é"):
        assert symbols.find_all(odd) == []


def test_hidden_addresses_are_told_apart(table):
    zeros = "\n".join("0" * 16 + line[16:] for line in TABLE.splitlines()) + "\n"
    table.write_text(zeros)
    symbols = KernelSymbols(str(table))
    assert symbols.lookup(0xFFFFFFFF81000123) == ("", 0xFFFFFFFF81000123, "")
    assert symbols.problem().code == "SYM009"
    with pytest.raises(SymbolError) as caught:
        symbols.address("sys_one")
    assert caught.value.code == "SYM009" and "kptr_restrict" in caught.value.hint
    assert "sys_one" in symbols
    assert "sys_one" in set(symbols.names())


@pytest.mark.parametrize(
    "text", ["", "\n", "no table at all\n", "ffffffff81000000 T a\nshort\n", "zzzzzzzzzzzzzzzz T a\n"]
)
def test_files_that_are_no_tables(table, text):
    table.write_text(text)
    symbols = KernelSymbols(str(table))
    assert symbols.problem().code == "SYM010"
    assert symbols.lookup(0xFFFFFFFF81000000)[0] == ""
    with pytest.raises(SymbolError):
        symbols.address("a")


def test_a_missing_file():
    assert KernelSymbols("/nonexistent/kallsyms").problem().code == "SYM010"


def test_32_bit_kernels(table):
    table.write_text("c0100000 T _stext\nc0100010 T sys_one\nc0100020 T _etext\n")
    assert KernelSymbols(str(table)).lookup(0xC0100014) == ("sys_one", 4, "")


def test_modules_that_come_later_are_found_after_a_while(table):
    symbols = KernelSymbols(str(table), max_age=0.0)
    late = 0xFFFFFFFFC0800010
    assert symbols.lookup(late)[0] == ""
    table.write_text(TABLE + "ffffffffc0800000 t late_function\t[late]\n")
    assert symbols.lookup(late) == ("late_function", 0x10, "late")
    assert symbols.address("late_function") == 0xFFFFFFFFC0800000
    # A program may take the memory of another: nothing outside of the kernel proper is taken on memory.
    table.write_text(TABLE + "ffffffffc0800000 t other_function\t[other]\n")
    assert symbols.lookup(late) == ("other_function", 0x10, "other")


def test_within_the_time_the_table_is_not_read_again(table):
    symbols = KernelSymbols(str(table), max_age=1000)
    assert symbols.lookup(0xFFFFFFFFC0800010)[0] == ""
    table.write_text(TABLE + "ffffffffc0800000 t late_function\t[late]\n")
    assert symbols.lookup(0xFFFFFFFFC0800010)[0] == ""
    symbols.refresh()
    assert symbols.lookup(0xFFFFFFFFC0800010)[0] == "late_function"


@pytest.fixture(scope="module")
def live():
    symbols = KernelSymbols()
    if symbols.problem() is not None:
        pytest.skip(str(symbols.problem()))
    return symbols


def test_the_running_kernel(live):
    with open("/proc/kallsyms") as file:
        lines = [line.split() for line in file]
    text = sorted((int(line[0], 16), line[2]) for line in lines if line[1] in "tTwW" and len(line) == 3)
    places = {}
    for address, name in text:
        places.setdefault(address, set()).add(name)
    random.seed(1)
    for address in random.sample(sorted(places), 500):
        name, offset, module = live.lookup(address)
        if name:
            assert name in places[address] and offset == 0 and module == ""
        else:
            assert all(other.endswith(("_etext", "_einittext", "_text_end")) for other in places[address])
    assert live.lookup(live.address("schedule") + 7)[1] == 7


def test_ten_thousand_addresses_take_less_than_a_second(live):
    low, high = live.address("_stext"), live.address("_etext")
    random.seed(2)
    addresses = [random.randrange(low, high) for _ in range(10_000)]
    start = time.process_time()
    assert len(live.resolve(addresses)) == 10_000
    assert time.process_time() - start < 1
