from __future__ import annotations

from osmia.isa.reference import MEANINGS, markdown, meaning, plain
from osmia.isa.table import TABLE


def test_the_page_has_a_line_for_every_instruction() -> None:
    page = markdown()
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(lines) == len(TABLE)
    for row in TABLE:
        cell = f"| `{plain(row.text)}` |".replace("|=", "\\|=")
        assert any(line.startswith(cell) and f"`0x{row.opcode:02x}`" in line for line in lines), row.name


def test_tables_are_well_formed_and_without_placeholders() -> None:
    page = markdown()
    assert "{" not in page
    for line in page.splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") == 9, line


def test_every_operation_is_explained_and_every_explanation_used() -> None:
    assert {row.operation for row in TABLE} == set(MEANINGS)
    assert all(meaning(row) for row in TABLE)
