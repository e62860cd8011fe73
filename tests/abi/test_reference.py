from __future__ import annotations

import re

import pytest

from osmia.abi import helpers, map_types, prog_types, reference


@pytest.mark.parametrize("name", ["helpers", "map-types", "program-types", "attach-types", "kernel-features"])
def test_pages_are_markdown_with_whole_tables(name):
    text = reference.pages()[name]
    assert text.startswith("# ")
    assert text.endswith("\n")
    assert "None" not in text
    columns = 0
    for line in text.splitlines():
        if line.startswith("|"):
            cells = len(re.findall(r"(?<!\\)\|", line)) - 1
            assert columns in (0, cells), line
            columns = cells
        else:
            columns = 0


def test_every_row_has_a_section_that_the_table_links_to():
    text = reference.helpers_markdown()
    for row in helpers.helpers():
        assert f"(#{row.name})" in text
        assert f"\n## {row.name}\n" in text
        assert row.prototype in text
    maps = reference.map_types_markdown()
    for row in map_types.map_types():
        if row.number:
            assert f"\n## {row.name}\n" in maps
    programs = reference.prog_types_markdown()
    for row in prog_types.prog_types():
        if row.number:
            assert f"\n## {row.name}\n" in programs


def test_facts_reach_the_page():
    text = reference.helpers_markdown()
    section = text[text.index("## seq_printf\n") : text.index("## seq_write\n")]
    assert "tracing (trace_iter)" in section
    assert "GPL-compatible" in section
    ring = reference.map_types_markdown()
    section = ring[ring.index("## ringbuf\n") : ring.index("## inode_storage\n")]
    assert "power of two" in section
    assert "`ringbuf_reserve`" in section
