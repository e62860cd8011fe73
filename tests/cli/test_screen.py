"""Tables: aligned text for pipes."""

from hypothesis import given
from hypothesis import strategies as st

from osmia.cli.screen import Heading, columns, plain_table, table
from osmia.diagnostics.text import display_width


def test_columns_are_aligned():
    headings = [Heading("ID", right=True), Heading("NAME"), Heading("END")]
    assert plain_table(headings, [["1", "a", "x"], ["1200", "longer", ""]]) == (
        "  ID  NAME    END\n   1  a       x\n1200  longer\n"
    )


def test_wide_characters_count_double():
    text = plain_table([Heading("NAME"), Heading("X")], [["日本", "1"], ["abcd", "2"]])
    assert text == "NAME  X\n日本  1\nabcd  2\n"


def test_control_characters_cannot_reach_the_terminal(capsys):
    table([Heading("NAME")], [["a\x1b[31mb\nc\td"]])
    assert capsys.readouterr().out == "NAME\na\\x1b[31mb\\nc\\td\n"


@given(st.lists(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126)), min_size=3, max_size=3)))
def test_every_row_is_one_line_and_cells_begin_in_one_column(rows):
    shown = plain_table([Heading("A"), Heading("B", right=True), Heading("C")], rows).splitlines()
    assert len(shown) == len(rows) + 1
    first = max([1, *(len(row[0]) for row in rows)])
    second = max([1, *(len(row[1]) for row in rows)])
    for row, line in zip(rows, shown[1:], strict=True):
        assert line == f"{row[0]:<{first}}  {row[1]:>{second}}  {row[2]}".rstrip()


def test_words_are_filled():
    text = columns(["word"] * 40, indent=4, width=40)
    assert all(line.startswith("    word") and display_width(line) <= 40 for line in text.split("\n"))
    assert text.split() == ["word"] * 40


def test_words_with_spaces_stay_together():
    assert columns(["one (1),", "two (2),", "three (3)"], indent=0, width=18) == "one (1), two (2),\nthree (3)"
