"""The reference pages are what the tables say, and everything is documented."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "docs.py"


@pytest.fixture(scope="module")
def docs():
    spec = importlib.util.spec_from_file_location("docs_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(docs):
    return docs.pages()


def test_check_passes():
    """If this fails, ``make docs`` writes what is out of date; what is undocumented is named."""
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_check_notices_a_page_that_differs(docs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "FOLDER", tmp_path / "docs" / "reference")
    monkeypatch.setattr(docs, "undocumented", list)
    monkeypatch.setattr(sys, "argv", ["docs.py", "--check"])
    assert docs.main() == 1
    assert "out of date" in capsys.readouterr().out and not (tmp_path / "docs").exists()
    monkeypatch.setattr(sys, "argv", ["docs.py"])
    assert docs.main() == 0
    monkeypatch.setattr(sys, "argv", ["docs.py", "--check"])
    assert docs.main() == 0
    page = tmp_path / "docs" / "reference" / "formats.md"
    page.write_text(page.read_text() + "\nan edit by hand\n")
    (page.parent / "old.md").write_text("a page that nothing makes any more\n")
    capsys.readouterr()
    assert docs.main() == 1
    shown = capsys.readouterr().out
    assert "formats.md: out of date" in shown and "old.md: no page any more" in shown and shown.count("\n") == 2


def test_what_is_undocumented_is_named(docs, monkeypatch):
    from osmia.lang.hooks import HOOKS, HookDecorators, HookKind
    from osmia.runtime.formats import FORMATS

    def brand_new(self, target):
        return None

    monkeypatch.setitem(HOOKS, "brand_new", HookKind("xdp", "xdp", "none"))
    monkeypatch.setattr(HookDecorators, "brand_new", brand_new, raising=False)
    monkeypatch.setitem(FORMATS, "roman", (str, True, "", 4))
    found = docs.undocumented()
    assert "hook brand_new: the decorator has no docstring" in found
    assert "hook brand_new: docs/language.md does not name it" in found
    assert "display format roman: scripts/docs.py does not describe it" in found


def test_every_row_is_on_its_page(pages):
    from osmia.abi.helpers import helpers
    from osmia.abi.map_types import map_types
    from osmia.compiler.ir.ops import OPS
    from osmia.diagnostics.codes import all_codes
    from osmia.isa.table import TABLE
    from osmia.lang.hooks import CGROUP_HOOKS, HOOKS
    from osmia.runtime.formats import FORMATS
    from osmia.runtime.programs import tool_names

    assert all(f"\n### {code}: " in pages["errors"] for code in all_codes())
    assert all(f"\n## {row.name}\n" in pages["helpers"] for row in helpers())
    assert all(f"\n## {row.name}\n" in pages["maps"] for row in map_types() if row.number)
    assert all(f"\n## {kind}\n" in pages["hooks"] for kind in HOOKS)
    assert all(f"| `{name}` |" in pages["hooks"] for name in CGROUP_HOOKS)
    assert all(f"| `{name}` |" in pages["formats"] for name in FORMATS)
    assert all(f"\n## {name}\n" in pages["tools"] for name in tool_names())
    assert all(f"| `{name}` |" in pages["ir"] for name in OPS)
    assert pages["instructions"].count("| `0x") == len(TABLE)


def test_every_option_is_on_its_page(pages):
    from osmia.cli.complete import commands, tool_options

    for command in commands():
        section = pages["options"].split(f"\n## osmia {command.name}\n")[1].split("\n## ")[0]
        for option in command.options:
            assert re.search(rf"^\| `{re.escape(', '.join(option.flags))}( [A-Z]+)?` \|", section, re.MULTILINE)
    for name, options in tool_options().items():
        section = pages["tools"].split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert all(f"| `{option.flags[-1]}" in section for option in options)


def test_tables_are_whole(pages):
    """Every row of a table has as many cells as its heading."""
    for name, text in pages.items():
        width = 0
        fenced = False
        for line in text.split("\n"):
            if line.startswith("```"):
                fenced = not fenced
            if fenced or not line.startswith("|"):
                width = 0
                continue
            cells = len(re.findall(r"(?<!\\)\|", line)) - 1
            width = width or cells
            assert cells == width, f"{name}: {line}"
        assert not fenced, f"{name}: a code block is not closed"
