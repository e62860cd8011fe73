"""The ready tools as files: found, named and described without importing them."""

from __future__ import annotations

import os
import re

from osmia.diagnostics import UsageError
from osmia.runtime.programs import tool_names, tools_folder

# A module's docstring: the first statement, after blank lines and comments.
_DOCSTRING = re.compile(
    r'(?:[ \t]*(?:#[^\n]*)?\n)*(?P<literal>[rR]?(?P<quotes>"""|\'\'\')(?P<text>.*?)(?<!\\)(?P=quotes))', re.DOTALL
)


class Tool:
    """A ready tool.

    :ivar name: what ``osmia run`` takes. :ivar path: its file. :ivar summary: one line: what it does.
    :ivar manual: its docstring: summary, text, options of its own, an example.
    """

    __slots__ = ("manual", "name", "path", "summary")

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self.manual = docstring(path)
        first = self.manual.partition("\n")[0]
        self.summary = first.removeprefix(f"{name}:").strip().rstrip(".")


def tools() -> list[Tool]:
    """All tools, in alphabetic order."""
    return [Tool(name, os.path.join(tools_folder(), f"{name}.py")) for name in tool_names()]


def tool(name: str) -> Tool:
    """The tool of a name.

    :raises UsageError: RUN021 when there is none.
    """
    known = tool_names()
    if name not in known:
        from osmia.diagnostics.text import clean, did_you_mean

        near = did_you_mean(name, known)
        raise UsageError("RUN021", f"there is no tool '{clean(name)}'", hint=near or "osmia tools lists them")
    return Tool(name, os.path.join(tools_folder(), f"{name}.py"))


def docstring(path: str) -> str:
    """A Python file's docstring without its indentation, ``""`` where it has none; nothing of the file is executed."""
    with open(path, encoding="utf-8", errors="replace") as file:
        found = _DOCSTRING.match(file.read())
    if found is None:
        return ""
    text = found["text"]
    if "\\" in text:
        import ast

        text = str(ast.literal_eval(found["literal"]))
    lines = text.expandtabs().strip("\n").split("\n")
    rest = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    margin = min(rest, default=0)
    return "\n".join([lines[0].strip(), *(line[margin:].rstrip() for line in lines[1:])]).strip()
