import os
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.diagnostics import CompileError, LoadError, MultiError, OsmiaError, Span
from osmia.diagnostics.render import excerpt, register_source, render, source_lines
from osmia.diagnostics.text import display_width

SOURCE = "def f(x):\n\tif x:\n\t\tyield 日本 + x\n\tfoo(a,\n\t    b,\n\n\t c)\n"


@pytest.fixture(autouse=True)
def source():
    register_source("p.py", SOURCE)


def test_a_whole_error():
    error = CompileError(
        "PY101",
        "cannot `yield`",
        span=Span("p.py", 3, 2, 3, 12),
        hint="send an event",
        notes=[("a program because of this", Span("p.py", 1, 4, 1, 5)), ("a fact", None)],
        details="line one\n\tline two\n",
    )
    assert render(error) == (
        "p.py:3:3: error[PY101]: cannot `yield`\n"
        "  |\n"
        "3 |         yield 日本 + x\n"
        "  |         ^^^^^^^^^^^^\n"
        "  |\n"
        "note: p.py:1:5: a program because of this\n"
        "  |\n"
        "1 | def f(x):\n"
        "  |     -\n"
        "  |\n"
        "note: a fact\n"
        "hint: send an event\n"
        "details: 2 lines, shown with --verbose\n"
        "more: osmia explain PY101\n"
    )
    assert "details:\n    line one\n    \tline two\nmore: osmia explain PY101\n" in render(error, verbose=True)


def test_without_a_place_or_extras():
    error = LoadError("KRN001", "refused", errno=1)
    assert render(error) == "error[KRN001]: refused\nmore: osmia explain KRN001\n"
    named = OsmiaError("OBJ001", "no ELF", span=Span("x.o"))
    assert render(named) == "x.o: error[OBJ001]: no ELF\nmore: osmia explain OBJ001\n"


def test_colours_add_nothing_but_colours():
    error = CompileError("PY101", "m", span=Span("p.py", 1, 0, 1, 3), hint="h", notes=[("n", None)], details="d")
    coloured = render(error, color=True, verbose=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(error, verbose=True)
    assert "\x1b" not in render(error)


def test_a_span_over_lines_marks_every_line():
    lines = excerpt(Span("p.py", 4, 1, 7, 4))
    assert lines == [
        "  |",
        "4 |     foo(a,",
        "  |     ^^^^^^",
        "5 |         b,",
        "  |         ^^",
        "6 |",
        "7 |      c)",
        "  |      ^^",
        "  |",
    ]


def test_a_long_span_is_elided_in_the_middle():
    register_source("long.py", "\n".join(f"line{i}" for i in range(1, 200)))
    lines = excerpt(Span("long.py", 90, 0, 120, 3))
    numbers = [line.split("|")[0].strip() for line in lines]
    assert [n for n in numbers if n] == ["90", "91", "92", "93", "...", "119", "120"]
    assert lines[-3] == "120 | line120"
    assert lines[-2] == "    | ^^^"


def test_a_span_that_ends_at_the_start_of_a_line_does_not_mark_that_line():
    assert [line for line in excerpt(Span("p.py", 1, 0, 2, 0)) if line[0] != " "] == ["1 | def f(x):"]


def test_context_lines_are_unmarked():
    assert excerpt(Span("p.py", 2, 1, 2, 3), context=1) == [
        "  |",
        "1 | def f(x):",
        "2 |     if x:",
        "  |     ^^",
        "3 |         yield 日本 + x",
        "  |",
    ]


def test_a_place_behind_the_end_of_line_gets_a_caret():
    assert excerpt(Span("p.py", 1, 99))[2] == "  |          ^"


@pytest.mark.parametrize(
    "span", [Span("p.py", 99), Span("nowhere.py", 1), Span("p.py"), Span("<gone>", 1), Span("a\0b", 1)]
)
def test_unknown_sources_give_no_excerpt_and_no_crash(span):
    assert excerpt(span) == []
    assert render(OsmiaError("PY101", "m", span=span)).endswith("more: osmia explain PY101\n")


def test_very_long_lines_are_trimmed_around_the_mark():
    register_source("wide.py", "x" * 100_000 + " bad " + "y" * 100_000)
    lines = excerpt(Span("wide.py", 1, 100_001, 1, 100_004), width=60)
    text, mark = lines[1], lines[2]
    assert display_width(text) <= 60
    assert text.startswith("1 | …x") and text.endswith("y…")
    assert text[mark.index("^") : mark.rindex("^") + 1] == "bad"


def test_untrusted_text_cannot_drive_the_terminal():
    register_source("evil.py", "a = '\x1b[2J'")
    error = OsmiaError(
        "PY101",
        "name \x1b]0;x\x07",
        span=Span("evil.py", 1, 4, 1, 10),
        hint="\x9b1m",
        notes=[("\x1bc", Span("\x1b", 1))],
        details="\x1b[31m",
    )
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", render(error, verbose=True))


def test_several_errors():
    error = MultiError(
        [CompileError("PY101", f"m{i}", span=Span("p.py", 1)) for i in range(3)]
        + [MultiError([OsmiaError("PY102", "z")])]
    )
    text = render(error)
    assert [line for line in text.split("\n") if "error[" in line] == [
        "p.py:1:1: error[PY101]: m0",
        "p.py:1:1: error[PY101]: m1",
        "p.py:1:1: error[PY101]: m2",
        "error[PY102]: z",
    ]
    assert text.endswith("\n\n4 errors\nmore: osmia explain PY101\nmore: osmia explain PY102\n")
    many = MultiError([CompileError("PY101", "m") for _ in range(50)])
    assert render(many).count("error[") == 20
    assert "50 errors, 30 of them not shown" in render(many)
    assert len(many.to_dict()["errors"]) == 50
    assert str(error).count("\n") == 3


def test_files_are_read_as_python_reads_them(tmp_path):
    latin = tmp_path / "latin.py"
    latin.write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\x0c\r\ny\rz")
    assert source_lines(str(latin)) == ["# -*- coding: latin-1 -*-", "x = 'é'\x0c", "y", "z"]
    bom = tmp_path / "bom.py"
    bom.write_bytes(b"\xef\xbb\xbfx\n\xff")
    assert source_lines(str(bom)) == ["x", "\ufffd"]
    odd = tmp_path / "odd.py"
    odd.write_bytes(b"# coding: no-such-thing\nx")
    assert source_lines(str(odd)) == ["# coding: no-such-thing", "x"]
    bom.write_text("changed file\n")
    assert source_lines(str(bom)) == ["changed file", ""]


def test_only_regular_readable_files_are_sources(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert source_lines(str(tmp_path / "pipe")) is None
    assert source_lines(str(tmp_path)) is None
    assert source_lines("/dev/zero") is None


@given(
    text=st.text(st.sampled_from("ab \t日\u0301\x1b\n\r\x0c"), max_size=60),
    place=st.tuples(*[st.integers(-2, 12)] * 4),
    width=st.integers(0, 50),
    context=st.integers(0, 2),
)
@settings(max_examples=300, deadline=None)
def test_any_span_of_any_text_renders(text, place, width, context):
    register_source("any", text)
    out = excerpt(Span("any", *place), width=width, context=context)
    for line in out:
        assert "\n" not in line and "\r" not in line
        assert display_width(line) <= max(width, 30)


def test_rendering_imports_nothing_heavy():
    banned = (
        "numpy llvmlite elftools rich dataclasses inspect ast typing tokenize asyncio logging subprocess click "
        "linecache difflib"
    )
    script = (
        "import sys\nfrom osmia.diagnostics import CompileError, Span\nfrom osmia.diagnostics.render import render\n"
        "render(CompileError('PY101', 'm', span=Span(sys.argv[0], 1)))\n"
        f"print([name for name in {banned.split()} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
