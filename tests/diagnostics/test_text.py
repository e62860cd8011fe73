import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.diagnostics.text import cells, clean, did_you_mean, display_width, edit_distance, suggest


def reference_distance(a, b):
    """Optimal string alignment, straight from its definition."""
    table = {}
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            if not i or not j:
                table[i, j] = i + j
                continue
            best = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                best = min(best, table[i - 2, j - 2] + 1)
            table[i, j] = best
    return table[len(a), len(b)]


@given(st.text("abc", max_size=7), st.text("abc", max_size=7), st.integers(0, 8))
@settings(max_examples=400, deadline=None)
def test_edit_distance_equals_its_definition_up_to_the_limit(a, b, limit):
    assert edit_distance(a, b, limit) == min(reference_distance(a, b), limit + 1)


@pytest.mark.parametrize(
    ("name", "candidates", "expected"),
    [
        ("sched_swich", ["sched_switch", "sched_wakeup", "sys_enter"], ["sched_switch"]),
        ("opneat", ["openat", "open", "openat2"], ["openat", "openat2"]),
        ("openat", ["sys_enter_openat", "do_openatx", "close"], ["sys_enter_openat", "do_openatx"]),
        ("Sched-Switch", ["sched_switch"], ["sched_switch"]),
        ("libssl.so.3", ["libssl", "libc"], ["libssl"]),
        ("zzz", ["open", "close"], []),
        ("", ["open"], []),
        ("pid", ["pid", "pid"], ["pid"]),
    ],
)
def test_suggest(name, candidates, expected):
    assert suggest(name, candidates) == expected


def test_suggest_keeps_to_the_limit_and_is_quick_over_a_kernel_of_symbols():
    candidates = [f"subsystem_{i % 97}_function_{i}" for i in range(120_000)] + ["tcp_sendmsg"]
    start = time.process_time()
    assert suggest("tcp_sendmgs", candidates) == ["tcp_sendmsg"]
    assert time.process_time() - start < 2
    assert len(suggest("subsystem_1_function_1", candidates, limit=2)) == 2


def test_did_you_mean():
    assert did_you_mean("opne", ["open"]) == "did you mean 'open'?"
    assert did_you_mean("opne", ["open", "one"]) == "did you mean 'open' or 'one'?"
    assert did_you_mean("qqqq", ["open"]) is None


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_clean_text_has_no_controls(text):
    assert all(unicodedata.category(char) != "Cc" or char in "\t\n" for char in clean(text))


def test_clean_shows_what_it_replaces():
    assert clean("a\x1b[31m\x00\u202eb\ud800") == "a\\x1b[31m\\x00\\u202eb\\ud800"
    assert clean("tab\tline\n") == "tab\tline\n"


def test_cells_expand_tabs_by_display_column():
    assert cells("\ta") == ["    ", "a"]
    assert cells("ab\tc") == ["a", "b", "  ", "c"]
    assert cells("日\tc") == ["日", "  ", "c"]


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("", 0), ("\uff46", 2)])
def test_display_width(text, width):
    assert display_width(text) == width
