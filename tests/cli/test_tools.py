"""``osmia tools``: the list and the manuals, read from the files without running them."""

import json
import os

import pytest

from osmia.cli import ready
from osmia.cli.main import main
from osmia.runtime.programs import tool_names, tools_folder


def test_the_list_has_every_tool_with_its_summary(capsys):
    assert main(["tools"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["TOOL", "WHAT", "IT", "DOES"]
    assert [line.split()[0] for line in lines[1:]] == tool_names()
    assert "opensnoop" in tool_names()
    assert all(len(line.split()) > 3 for line in lines[1:])


def test_json(capsys):
    assert main(["tools", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == tool_names()
    assert all(row["summary"] and row["manual"] and os.path.isfile(row["path"]) for row in rows)
    assert main(["tools", "opensnoop", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one == next(row for row in rows if row["name"] == "opensnoop")


@pytest.mark.parametrize("name", tool_names())
def test_manual(name, capsys):
    assert main(["tools", name]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0] == "NAME" and lines[1].startswith(f"    {name} - ")
    headings = [line for line in lines if line and line[0] != " "]
    assert headings[:2] == ["NAME", "DESCRIPTION"] and headings[-2:] == ["EXAMPLE", "COMMON OPTIONS"]
    assert f"# osmia run {name}" in text
    assert "\n\n\n" not in text


@pytest.mark.parametrize("name", tool_names())
def test_every_manual_names_the_options_that_the_tool_has(name):
    import re

    from osmia.cli.complete import run_options, tool_options

    known = {flag for option in run_options() for flag in option.flags}
    own = {flag for option in tool_options()[name] for flag in option.flags}
    said = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", ready.tool(name).manual))
    assert own <= said, "options that the manual does not name"
    assert said <= known | own, "options that the tool does not have"


def test_path(capsys):
    assert main(["tools", "--path"]) == 0
    assert capsys.readouterr().out.strip() == tools_folder()
    assert main(["tools", "opensnoop", "--path"]) == 0
    assert capsys.readouterr().out.strip() == os.path.join(tools_folder(), "opensnoop.py")


@pytest.mark.parametrize(
    ("name", "hint"), [("opensnop", "'opensnoop'"), ("../secret", "osmia tools lists them"), ("__init__", "")]
)
def test_unknown_tool(name, hint, capsys):
    assert main(["tools", name]) == 2
    shown = capsys.readouterr().err
    assert "error[RUN021]" in shown and hint in shown


def test_control_characters_in_a_name_are_shown_as_escapes(capsys):
    assert main(["tools", "\x1b[31mred"]) == 2
    assert "\x1b" not in capsys.readouterr().err


# -- docstrings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('"""One line."""\nraise SystemExit\n', "One line."),
        ('#!/usr/bin/env python3\n# a comment\n\n"""Two\n\n  indented\n    more\n"""\n', "Two\n\nindented\n  more"),
        ("'''single'''", "single"),
        ('r"""a \\d b"""', "a \\d b"),
        ('"""a \\\\ b \\t c"""', "a \\ b    c"),
        ("import os\n'''no docstring'''", ""),
        ("", ""),
        ('"""never closed', ""),
        ("x = 1", ""),
    ],
)
def test_docstring(tmp_path, source, text):
    path = tmp_path / "module.py"
    path.write_text(source)
    assert ready.docstring(str(path)) == text


def test_docstring_agrees_with_python():
    import ast
    import inspect

    for name in tool_names():
        path = os.path.join(tools_folder(), f"{name}.py")
        with open(path, encoding="utf-8") as file:
            wanted = inspect.cleandoc(ast.get_docstring(ast.parse(file.read()), clean=False))
        assert ready.docstring(path) == "\n".join(line.rstrip() for line in wanted.split("\n")).strip()
