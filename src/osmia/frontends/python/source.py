"""Source texts of Python functions: from a function object to its syntax tree, from a node to a span.

A file is read and parsed once. Functions are found by the line their code starts at; ``inspect`` is not needed.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Iterable, Iterator
from typing import Any

from osmia.diagnostics import CompileError, Span
from osmia.diagnostics.sources import source_lines

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class SourceFile:
    """One parsed file.

    :ivar name: its path, as Python knows it. :ivar lines: the lines of its text.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        lines = source_lines(name)
        if lines is None:
            raise CompileError(
                "PY100",
                f"the source of {name} cannot be read",
                hint="kernel functions are compiled from their source text: keep them in a file",
            )
        self.lines = lines
        try:
            tree = ast.parse("\n".join(lines) + "\n", filename=name)
        except (SyntaxError, ValueError, RecursionError) as error:
            line = getattr(error, "lineno", None) or 0
            raise CompileError(
                "PY101",
                f"{name} is no Python file: {getattr(error, 'msg', None) or error}",
                span=Span(name, line, max(0, (getattr(error, "offset", 1) or 1) - 1)) if line else Span(name),
                hint="the file changed since it was imported, or it is another language",
            ) from None
        self._tree = tree
        self._functions: dict[int, list[FunctionNode]] = {}
        self._index(_definitions(tree.body))
        self._lambdas = False

    def _index(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                first = min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", []))])
                self._functions.setdefault(first, []).append(node)

    def span(self, node: ast.AST) -> Span:
        """The place of a node; columns count characters."""
        line = getattr(node, "lineno", 0)
        if not line:
            return Span(self.name)
        end_line = getattr(node, "end_lineno", None) or line
        column = self._column(line, getattr(node, "col_offset", 0))
        end_offset = getattr(node, "end_col_offset", None)
        end_column = None if end_offset is None else self._column(end_line, end_offset)
        return Span(self.name, line, column, end_line, end_column)

    def _column(self, line: int, offset: int) -> int:
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        if text.isascii():
            return offset
        return len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "ignore"))

    def function(self, code: types.CodeType) -> FunctionNode:
        """The node of a function by its code object.

        :raises CompileError: PY102 when the file no longer has it.
        """
        if code.co_name == "<lambda>" and not self._lambdas:
            self._lambdas = True
            self._index(node for node in ast.walk(self._tree) if isinstance(node, ast.Lambda))
        found = [
            node
            for node in self._functions.get(code.co_firstlineno, [])
            if getattr(node, "name", "<lambda>") == code.co_name
        ]
        if len(found) != 1:
            raise CompileError(
                "PY102",
                f"function {code.co_name} is not at line {code.co_firstlineno} of {self.name} (any more)",
                span=Span(self.name, code.co_firstlineno),
                hint="the file changed since it was imported" if not found else "put each function on its own line",
            )
        return found[0]


def _definitions(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """The functions among statements, however deep; expressions are not looked into."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, name, None)
            if isinstance(inner, list):
                yield from _definitions(inner)


class Sources:
    """The files of one compilation."""

    def __init__(self) -> None:
        self._files: dict[str, SourceFile] = {}

    def file(self, name: str) -> SourceFile:
        """The parsed file of that name."""
        if name not in self._files:
            self._files[name] = SourceFile(name)
        return self._files[name]

    def of(self, function: Any) -> tuple[SourceFile, FunctionNode]:
        """The file and the syntax tree of a Python function."""
        code: types.CodeType = function.__code__
        file = self.file(code.co_filename)
        return file, file.function(code)
