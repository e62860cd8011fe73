"""Codes of the runtime: sessions, commands, formats, sinks."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = ()
