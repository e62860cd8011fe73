"""A mypy plugin for sizes in types: ``Char[16]`` is a ``str``, ``Bytes[6]`` is ``bytes``, ``Array[u32, 4]`` a list.

Static checkers refuse a bare number as a type argument. ``Char[Literal[16]]`` works without the plugin.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.plugin import AnalyzeTypeContext, Plugin
from mypy.types import Type

_SCALARS = {"osmia.lang.types.Char": "builtins.str", "osmia.lang.types.Bytes": "builtins.bytes"}
_ARRAY = "osmia.lang.types.Array"


def _sized(target: str) -> Callable[[AnalyzeTypeContext], Type]:
    def analyze(context: AnalyzeTypeContext) -> Type:
        return context.api.named_type(target, [])

    return analyze


def _array(context: AnalyzeTypeContext) -> Type:
    element = context.api.analyze_type(context.type.args[0])
    return context.api.named_type("builtins.list", [element])


class OsmiaPlugin(Plugin):
    """Replaces the sized types by what they are in user space."""

    def get_type_analyze_hook(self, fullname: str) -> Callable[[AnalyzeTypeContext], Type] | None:
        """The hook for one of Osmia's sized types, by its full name."""
        if fullname in _SCALARS:
            return _sized(_SCALARS[fullname])
        return _array if fullname == _ARRAY else None


def plugin(version: str) -> type[Plugin]:
    """Entry point that mypy calls with its version."""
    return OsmiaPlugin
