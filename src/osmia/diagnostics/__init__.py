"""Errors that explain: source spans, coded errors, and their rendering.

Every error Osmia raises on purpose is an :class:`OsmiaError` with a code. The codes' rows and pages live
in ``osmia.diagnostics.codes`` and are loaded only by ``osmia explain`` and by tests; raising stays cheap.
"""

from __future__ import annotations

from osmia.diagnostics.errors import (
    AttachError,
    BtfError,
    CacheError,
    CompileError,
    IsaError,
    LoadError,
    MapError,
    MultiError,
    ObjectError,
    OsmiaError,
    PermissionMissing,
    RelocationError,
    RunError,
    SymbolError,
    UnsupportedFeature,
    UsageError,
)
from osmia.diagnostics.span import NO_SPAN, Span

__all__ = [
    "NO_SPAN",
    "AttachError",
    "BtfError",
    "CacheError",
    "CompileError",
    "IsaError",
    "LoadError",
    "MapError",
    "MultiError",
    "ObjectError",
    "OsmiaError",
    "PermissionMissing",
    "RelocationError",
    "RunError",
    "Span",
    "SymbolError",
    "UnsupportedFeature",
    "UsageError",
]
