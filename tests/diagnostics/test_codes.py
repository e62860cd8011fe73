"""Every code that is raised has a row with a real page, and every row is raised."""

import ast
import re
from pathlib import Path

import pytest

import osmia
from osmia.diagnostics import errors
from osmia.diagnostics.codes import all_codes
from osmia.diagnostics.explain import AREAS, SECTIONS, area_of

ROOT = Path(osmia.__file__).parent
CODES = ROOT / "diagnostics" / "codes"
CODE = re.compile(rf"(?:{'|'.join(AREAS)})\d{{3}}")
ERROR_CLASSES = {name for name, value in vars(errors).items() if isinstance(value, type)} - {"MultiError", "Span"}


def sources():
    return [path for path in sorted(ROOT.rglob("*.py")) if CODES not in path.parents]


def is_error_class(node):
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in ERROR_CLASSES


def used_codes():
    """Codes written as strings of their own anywhere outside the rows, with the places they stand at."""
    found = {}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                found.setdefault(node.value, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def test_every_code_in_use_has_a_row():
    rows = all_codes()
    missing = {code: places for code, places in used_codes().items() if code not in rows}
    assert not missing


def test_every_row_is_raised_somewhere():
    unused = set(all_codes()) - set(used_codes())
    assert not unused


def test_every_error_is_made_with_a_proper_code():
    """A literal first argument of an error class is a code, not some text."""
    wrong = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and is_error_class(node.func) and node.args:
                first = node.args[0]
                if isinstance(first, ast.JoinedStr) or (
                    isinstance(first, ast.Constant) and not CODE.fullmatch(str(first.value))
                ):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not wrong


@pytest.mark.parametrize("name", sorted(all_codes()))
def test_row_has_a_real_page(name):
    row = all_codes()[name]
    assert re.fullmatch(r"[A-Z]+\d{3}", row.code) and area_of(row.code) in AREAS
    assert row.title and "\n" not in row.title and not row.title.endswith(".") and len(row.title) <= 90
    parts = re.split(r"^## (.+)$", row.page, flags=re.MULTILINE)
    assert not parts[0].strip(), "text before the first section"
    assert tuple(parts[1::2]) == SECTIONS
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        assert len(body.split()) >= (2 if heading == "Example" else 8), f"{heading} says next to nothing"
    assert row.page.count("```") % 2 == 0
    assert not re.search(r"\b(TODO|FIXME|XXX|TBD)\b", row.page)


def test_pages_are_not_copies_of_each_other():
    pages = {}
    for row in all_codes().values():
        pages.setdefault(" ".join(row.page.split()), []).append(row.code)
    assert not [codes for codes in pages.values() if len(codes) > 1]
